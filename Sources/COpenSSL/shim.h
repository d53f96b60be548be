#ifndef COLOSSUS_COPENSSL_SHIM_H
#define COLOSSUS_COPENSSL_SHIM_H
#include <time.h>
#include <openssl/err.h>
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
#endif
