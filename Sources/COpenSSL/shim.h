#ifndef COLOSSUS_COPENSSL_SHIM_H
#define COLOSSUS_COPENSSL_SHIM_H
#include <time.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// Without one OpenSSL would ask the terminal for the password of an encrypted key.
static inline int colossus_no_password(char *buffer, int size, int writes, void *unused) {
    (void)buffer, (void)size, (void)writes, (void)unused;
    return -1;
}

// RFC 7301: whoever offers protocols, and HTTP/1.1 is not among them, is told so.
static inline int colossus_choose_protocol(SSL *session, const unsigned char **chosen, unsigned char *size,
                                           const unsigned char *offered, unsigned int offered_size, void *unused) {
    static const unsigned char ours[] = "\x08http/1.1";
    (void)session, (void)unused;
    return SSL_select_next_proto((unsigned char **)chosen, size, ours, sizeof ours - 1, offered, offered_size) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// What is a macro in C, or wants a callback: all that is the same for every listener.
static inline void colossus_set_up(SSL_CTX *context, int is_tls13) {
    SSL_CTX_set_min_proto_version(context, is_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    // Tickets carry the sessions: nothing is kept here for peers that come once.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"colossusd", 9);
    SSL_CTX_set_default_passwd_cb(context, colossus_no_password);
    SSL_CTX_set_alpn_select_cb(context, colossus_choose_protocol, NULL);
}

// Each handshake looks at the client's certificate: no session is taken up again past that.
static inline void colossus_never_resume(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

// Looks once for the authorities between the certificate and its root, in its file and among those of clients, and sends
// these: in a handshake the search would be held against the lists of revoked ones each time. Before the lists come in.
static inline void colossus_find_own_chain(SSL_CTX *context) {
    SSL_CTX_build_cert_chain(context, SSL_BUILD_CHAIN_FLAG_UNTRUSTED | SSL_BUILD_CHAIN_FLAG_NO_ROOT |
                                          SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR | SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
    ERR_clear_error();
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
}

// Both ends of a session lie in memory. Returns 0 when there is none left.
static inline int colossus_use_memory(SSL *session, BIO **incoming, BIO **outgoing) {
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (in == NULL || out == NULL) {
        BIO_free(in);
        BIO_free(out);
        return 0;
    }
    SSL_set_bio(session, in, out);
    SSL_set_accept_state(session);
    *incoming = in;
    *outgoing = out;
    return 1;
}

// The names of a certificate: kind 0 common names, 1 URIs, 2 DNS names. The bytes are not ended by a null; they are NULL
// for alternative names that cannot be read.
static inline void colossus_names(const X509 *certificate, void *to,
                                  void (*found)(void *to, int kind, const unsigned char *bytes, int size)) {
    const X509_NAME *subject = X509_get_subject_name(certificate);
    for (int place = -1; (place = X509_NAME_get_index_by_NID((X509_NAME *)subject, NID_commonName, place)) >= 0;) {
        unsigned char *text = NULL;
        int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)));
        if (size > 0) found(to, 0, text, size);
        OPENSSL_free(text);
    }
    int state = -1;
    GENERAL_NAMES *names = (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, &state, NULL);
    if (names == NULL && state != -1) found(to, 1, NULL, 0);
    for (int place = 0; place < sk_GENERAL_NAME_num(names); place++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, place);
        if (name->type != GEN_URI && name->type != GEN_DNS) continue;
        const ASN1_IA5STRING *text = name->type == GEN_URI ? name->d.uniformResourceIdentifier : name->d.dNSName;
        found(to, name->type == GEN_URI ? 1 : 2, ASN1_STRING_get0_data(text), ASN1_STRING_length(text));
    }
    GENERAL_NAMES_free(names);
}

// The beginning and the end of the certificate's validity in Unix seconds; 0 when it cannot be read.
static inline long long colossus_valid_from(const X509 *certificate) {
    struct tm from;
    return ASN1_TIME_to_tm(X509_get0_notBefore(certificate), &from) == 1 ? (long long)timegm(&from) : 0;
}

static inline long long colossus_valid_until(const X509 *certificate) {
    struct tm until;
    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &until) == 1 ? (long long)timegm(&until) : 0;
}

// When a list of revoked certificates was made, and until when it is good, in Unix seconds; 0 for a time that cannot be
// read, and the end of time for a list without an end.
static inline long long colossus_list_from(const X509_CRL *list) {
    struct tm from;
    return ASN1_TIME_to_tm(X509_CRL_get0_lastUpdate(list), &from) == 1 ? (long long)timegm(&from) : 0;
}

static inline long long colossus_list_until(const X509_CRL *list) {
    struct tm until;
    const ASN1_TIME *time = X509_CRL_get0_nextUpdate(list);
    if (time == NULL) return 0x7FFFFFFFFFFFFFFF;
    return ASN1_TIME_to_tm(time, &until) == 1 ? (long long)timegm(&until) : 0;
}

// Which certificates a list is about (its issuing distribution point), as it is encoded; NULL for all of its authority.
static inline const ASN1_OCTET_STRING *colossus_list_scope(const X509_CRL *list) {
    int place = X509_CRL_get_ext_by_NID(list, NID_issuing_distribution_point, -1);
    return place < 0 ? NULL : X509_EXTENSION_get_data(X509_CRL_get_ext(list, place));
}

// Whether certificates of clients may be on the list: 0 when it is about authorities, or attributes, alone.
static inline int colossus_list_is_of_leaves(const X509_CRL *list) {
    ISSUING_DIST_POINT *scope = (ISSUING_DIST_POINT *)X509_CRL_get_ext_d2i(list, NID_issuing_distribution_point, NULL, NULL);
    if (scope == NULL) return 1;
    int is_of_leaves = scope->onlyCA <= 0 && scope->onlyattr <= 0;
    ISSUING_DIST_POINT_free(scope);
    return is_of_leaves;
}

// The certificates of authorities that those of clients are held against, by their places, some of which are NULL. Only
// while the context is set up.
static inline int colossus_authority_places(const SSL_CTX *context) {
    return sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(context)));
}

static inline X509 *colossus_authority(const SSL_CTX *context, int place) {
    X509 *found = X509_OBJECT_get0_X509(
        sk_X509_OBJECT_value(X509_STORE_get0_objects(SSL_CTX_get_cert_store(context)), place));
    return found != NULL && X509_check_ca(found) != 0 ? found : NULL;
}

// Whether what was read in PEM has come to its end, and not to something that is broken.
static inline int colossus_is_end_of_pem(unsigned long code) {
    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

// Whether lists of the context can be used where a chain ends in this certificate of an authority, at whatever time.
// Returns X509_V_OK, or why not, which is X509_V_OK also where that is not about the lists.
static inline int colossus_verify_lists(const SSL_CTX *context, X509 *authority) {
    int found = X509_V_ERR_OUT_OF_MEM;
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    if (check != NULL && X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(context), authority, NULL) == 1) {
        // Without the time: a list that has ended is no reason, and must not hide another one.
        X509_STORE_CTX_set_flags(check, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL | X509_V_FLAG_NO_CHECK_TIME);
        found = X509_verify_cert(check) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(check);
    }
    X509_STORE_CTX_free(check);
    ERR_clear_error();
    switch (found) {
        case X509_V_ERR_OUT_OF_MEM:
        case X509_V_ERR_UNABLE_TO_GET_CRL:
        case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
        case X509_V_ERR_CRL_SIGNATURE_FAILURE:
        case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
        case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
        case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
        case X509_V_ERR_INVALID_EXTENSION:
        case X509_V_ERR_DIFFERENT_CRL_SCOPE:
        case X509_V_ERR_CRL_PATH_VALIDATION_ERROR: return found;
        default: return X509_V_OK;
    }
}

// Holds the certificate of a client, who has sent others with it, against what the context holds, at a time in Unix
// seconds, as a handshake does. Returns what came of it: X509_V_OK, or why not.
static inline int colossus_verify_again(const SSL_CTX *context, X509 *certificate, STACK_OF(X509) *others,
                                        long long now) {
    int found = X509_V_ERR_OUT_OF_MEM;
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    if (check != NULL && X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(context), certificate, others) == 1 &&
        X509_STORE_CTX_set_default(check, "ssl_client") == 1) {
        X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(check), SSL_CTX_get_security_level(context));
        X509_STORE_CTX_set_depth(check, SSL_CTX_get_verify_depth(context));
        X509_STORE_CTX_set_time(check, 0, (time_t)now);
        int is_good = X509_verify_cert(check);
        found = X509_STORE_CTX_get_error(check);
        if (is_good == 1)
            found = X509_V_OK;
        else if (found == X509_V_OK)
            found = X509_V_ERR_UNSPECIFIED;
    }
    X509_STORE_CTX_free(check);
    ERR_clear_error();
    return found;
}

static inline void colossus_free_chain(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }
#endif
