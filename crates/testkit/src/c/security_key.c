/* A security key made of software, for tests alone: OpenSSH's middleware interface (its `sk-api.h`, version 0x000a0000),
 * Ed25519 by libcrypto, whose few functions are declared here so that no development package is needed.
 *
 * The "hardware" is the key handle: it holds the private half. Touch is as the signature asks for it; verification takes the PIN 123456.
 * TIDEGATE_TEST_LAZY_KEY in the environment makes it sign without being touched, whatever was asked for. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TOUCH 0x01
#define VERIFIED 0x04
#define ED25519 1
#define UNSUPPORTED (-2)
#define PIN_REQUIRED (-3)
#define GENERAL (-1)
#define EVP_PKEY_ED25519 1087

typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX;
extern EVP_PKEY *EVP_PKEY_new_raw_private_key(int, void *, const unsigned char *, size_t);
extern int EVP_PKEY_get_raw_public_key(const EVP_PKEY *, unsigned char *, size_t *);
extern void EVP_PKEY_free(EVP_PKEY *);
extern EVP_MD_CTX *EVP_MD_CTX_new(void);
extern void EVP_MD_CTX_free(EVP_MD_CTX *);
extern int EVP_DigestSignInit(EVP_MD_CTX *, void *, const void *, void *, EVP_PKEY *);
extern int EVP_DigestSign(EVP_MD_CTX *, unsigned char *, size_t *, const unsigned char *, size_t);
extern unsigned char *SHA256(const unsigned char *, size_t, unsigned char *);
extern int RAND_bytes(unsigned char *, int);

struct sk_enroll_response {
    uint8_t flags;
    uint8_t *public_key;
    size_t public_key_len;
    uint8_t *key_handle;
    size_t key_handle_len;
    uint8_t *signature;
    size_t signature_len;
    uint8_t *attestation_cert;
    size_t attestation_cert_len;
    uint8_t *authdata;
    size_t authdata_len;
};

struct sk_sign_response {
    uint8_t flags;
    uint32_t counter;
    uint8_t *sig_r;
    size_t sig_r_len;
    uint8_t *sig_s;
    size_t sig_s_len;
};

struct sk_option;
struct sk_resident_key;

uint32_t sk_api_version(void) { return 0x000a0000; }

static int pin_is_right(const char *pin) { return pin != NULL && strcmp(pin, "123456") == 0; }

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags,
              const char *pin, struct sk_option **options, struct sk_enroll_response **out) {
    (void)challenge, (void)challenge_len, (void)application, (void)options;
    if (alg != ED25519)
        return UNSUPPORTED;
    if ((flags & VERIFIED) && !pin_is_right(pin))
        return PIN_REQUIRED;
    struct sk_enroll_response *made = calloc(1, sizeof *made);
    made->flags = flags;
    made->key_handle = calloc(1, made->key_handle_len = 32);
    made->public_key = calloc(1, made->public_key_len = 32);
    /* Not asked for, but OpenSSH wants it to be there. */
    made->signature = calloc(1, made->signature_len = 64);
    RAND_bytes(made->key_handle, 32);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, made->key_handle, 32);
    size_t size = 32;
    int done = key != NULL && EVP_PKEY_get_raw_public_key(key, made->public_key, &size) == 1;
    EVP_PKEY_free(key);
    *out = made;
    return done ? 0 : GENERAL;
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *key_handle,
            size_t key_handle_len, uint8_t flags, const char *pin, struct sk_option **options, struct sk_sign_response **out) {
    (void)options;
    if (alg != ED25519 || key_handle_len != 32)
        return UNSUPPORTED;
    if ((flags & VERIFIED) && !pin_is_right(pin))
        return PIN_REQUIRED;
    struct sk_sign_response *made = calloc(1, sizeof *made);
    made->flags = flags & (TOUCH | VERIFIED);
    if (getenv("TIDEGATE_TEST_LAZY_KEY") != NULL)
        made->flags &= ~TOUCH;
    made->counter = 7;
    /* OpenSSH's PROTOCOL.u2f: SHA-256 of the application, flags, counter, SHA-256 of the message. */
    unsigned char message[32 + 1 + 4 + 32] = {0};
    SHA256((const unsigned char *)application, strlen(application), message);
    message[32] = made->flags;
    message[36] = (unsigned char)made->counter;
    SHA256(data, data_len, message + 37);
    made->sig_r = calloc(1, made->sig_r_len = 64);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key_handle, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int done = key != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
               EVP_DigestSign(context, made->sig_r, &made->sig_r_len, message, sizeof message) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    *out = made;
    return done ? 0 : GENERAL;
}

int sk_load_resident_keys(const char *pin, struct sk_option **options, struct sk_resident_key ***keys, size_t *count) {
    (void)pin, (void)options, (void)keys, (void)count;
    return UNSUPPORTED;
}
