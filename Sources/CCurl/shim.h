#ifndef CCURL_SHIM_H
#define CCURL_SHIM_H
/* Swift does not import variadic C functions: one function for each type that the variadic argument can have. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

static inline CURLcode ccurl_setopt_long(CURL *h, CURLoption o, long v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode ccurl_setopt_off(CURL *h, CURLoption o, curl_off_t v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode ccurl_setopt_string(CURL *h, CURLoption o, const char *v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode ccurl_setopt_pointer(CURL *h, CURLoption o, void *v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode ccurl_setopt_slist(CURL *h, CURLoption o, struct curl_slist *v) { return curl_easy_setopt(h, o, v); }

/* The type of CURLOPT_WRITEFUNCTION and of CURLOPT_HEADERFUNCTION. */
typedef size_t (*ccurl_data_function)(char *, size_t, size_t, void *);
static inline CURLcode ccurl_setopt_data(CURL *h, CURLoption o, ccurl_data_function v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode ccurl_setopt_opensocket(CURL *h, curl_opensocket_callback v) { return curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, v); }

/* A handle that is closed while the resolver's thread is still at work must not wait for that thread (7.87.0). */
static inline CURLcode ccurl_setopt_quick_exit(CURL *h) {
#if LIBCURL_VERSION_NUM >= 0x075700
  return curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L);
#else
  (void)h;
  return CURLE_OK;
#endif
}

/* libcurl 7.87 keeps the CA file for a day: one that was replaced would not be read. */
static inline void ccurl_setopt_ca_cache_off(CURL *h) {
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(h, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#else
  (void)h;
#endif
}

static inline CURLcode ccurl_getinfo_long(CURL *h, CURLINFO i, long *v) { return curl_easy_getinfo(h, i, v); }
static inline CURLcode ccurl_getinfo_off(CURL *h, CURLINFO i, curl_off_t *v) { return curl_easy_getinfo(h, i, v); }

static inline CURLMcode ccurl_multi_setopt_long(CURLM *m, CURLMoption o, long v) { return curl_multi_setopt(m, o, v); }
static inline CURLMcode ccurl_multi_setopt_pointer(CURLM *m, CURLMoption o, void *v) { return curl_multi_setopt(m, o, v); }
static inline CURLMcode ccurl_multi_setopt_socket(CURLM *m, curl_socket_callback v) { return curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, v); }
static inline CURLMcode ccurl_multi_setopt_timer(CURLM *m, curl_multi_timer_callback v) { return curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, v); }

/* Macros that Swift does not import. */
static const CURLversion ccurl_version_now = CURLVERSION_NOW;
static const long ccurl_tls12 = CURL_SSLVERSION_TLSv1_2;
static const long ccurl_tls13 = CURL_SSLVERSION_TLSv1_3;
static const curl_socket_t ccurl_socket_timeout = CURL_SOCKET_TIMEOUT;
static const curl_socket_t ccurl_socket_bad = CURL_SOCKET_BAD;

/* The result in a CURLMSG_DONE message. */
static inline CURLcode ccurl_message_result(const CURLMsg *m) { return m->data.result; }
#endif
