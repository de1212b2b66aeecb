"""Makes the key set and the tokens of this directory: python3 make.py (needs the package `cryptography`).

Written from RFC 7515 to 7518 and the documentation of Kubernetes, without the library that the proxy uses. The
private keys are thrown away, so every run makes other ones.
"""
import base64, hashlib, hmac, json, os
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = 1768465800  # 2026-01-15T08:30:00Z


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


def rsa_jwk(key, kid, **more):
    n = key.public_key().public_numbers()
    return {"kty": "RSA", "use": "sig", "kid": kid, "n": number(n.n), "e": number(n.e), **more}


def ec_jwk(key, kid, crv, size, **more):
    n = key.public_key().public_numbers()
    return {"kty": "EC", "use": "sig", "kid": kid, "crv": crv, "x": number(n.x, size), "y": number(n.y, size), **more}


def rs256(key):
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def ps256(key):
    return lambda data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def rs384(key):
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA384())


def es(key, size, algorithm):
    def sign(data):
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(algorithm)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return sign


def hs256(secret):
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def claims(**changes):
    all = {
        "aud": ["https://kubernetes.default.svc.cluster.local", "mpc-auth-proxy"],
        "exp": NOW + 3600,
        "iat": NOW,
        "iss": "https://kubernetes.default.svc.cluster.local",
        "jti": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
        "kubernetes.io": {
            "namespace": "media",
            "node": {"name": "node-1", "uid": "11111111-1111-1111-1111-111111111111"},
            "pod": {"name": "oncall-0", "uid": "22222222-2222-2222-2222-222222222222"},
            "serviceaccount": {"name": "oncall", "uid": "33333333-3333-3333-3333-333333333333"},
        },
        "nbf": NOW,
        "sub": "system:serviceaccount:media:oncall",
    }
    all.update(changes)
    return {name: value for name, value in all.items() if value is not None}


def token(header, body, sign):
    body = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    signed = b64(json.dumps(header, separators=(",", ":")).encode()) + "." + b64(body.encode())
    return signed + "." + b64(sign(signed.encode()))


def bound(namespace, name):
    return {"namespace": namespace, "serviceaccount": {"name": name}}


def main():
    rsa_key, short, other = (rsa.generate_private_key(65537, size) for size in (2048, 1024, 2048))
    p256, p384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    jwks = {"keys": [
        rsa_jwk(rsa_key, "rsa", alg="RS256"), ec_jwk(p256, "p256", "P-256", 32, alg="ES256"),
        # Passed over: too short, of another curve, for encryption, of an unknown type.
        rsa_jwk(short, "short"), ec_jwk(p384, "p384", "P-384", 48), rsa_jwk(other, "enc") | {"use": "enc"},
        {"kty": "XYZ", "kid": "xyz"},
    ]}
    R, E = {"alg": "RS256", "kid": "rsa"}, {"alg": "ES256", "kid": "p256"}
    good = token(R, claims(), rs256(rsa_key))
    head, body, signature = good.split(".")
    pem = rsa_key.public_key().public_bytes(serialization.Encoding.PEM,
                                            serialization.PublicFormat.SubjectPublicKeyInfo)
    text = json.dumps(claims(), separators=(",", ":"))
    tampered = b64(json.dumps(claims(sub="system:serviceaccount:media:admin")).encode())
    tokens = {
        "right": good,
        "right, with ES256": token(E, claims(), es(p256, 32, hashes.SHA256())),
        "right, without a key id": token({"alg": "RS256"}, claims(), rs256(rsa_key)),
        "right, for one audience": token(R, claims(aud="mpc-auth-proxy"), rs256(rsa_key)),
        "right, without a beginning": token(R, claims(nbf=None), rs256(rsa_key)),
        "right, until 2100": token(R, claims(nbf=NOW - 10**8, exp=4102444800), rs256(rsa_key)),
        "right, until 2100, of the editor": token(
            E, claims(nbf=NOW - 10**8, exp=4102444800, **{"kubernetes.io": bound("media", "editor-api")}),
            es(p256, 32, hashes.SHA256())),
        "for another audience": token(R, claims(aud=["other"]), rs256(rsa_key)),
        "for no audience": token(R, claims(aud=[]), rs256(rsa_key)),
        "of another issuer": token(R, claims(iss="https://other.example"), rs256(rsa_key)),
        "of another namespace": token(R, claims(**{"kubernetes.io": bound("other", "oncall")}), rs256(rsa_key)),
        "of another name": token(R, claims(**{"kubernetes.io": bound("media", "other")}), rs256(rsa_key)),
        "without what it is bound to": token(R, claims(**{"kubernetes.io": None}), rs256(rsa_key)),
        "without an end": token(R, claims(exp=None), rs256(rsa_key)),
        "without an audience": token(R, claims(aud=None), rs256(rsa_key)),
        "with a text as its end": token(R, claims(exp=str(NOW + 3600)), rs256(rsa_key)),
        "with a claim twice": token(R, text[:-1] + ',"exp":99999999999}', rs256(rsa_key)),
        "without a signature": f"{head}.{body}.",
        "with alg none": b64(b'{"alg":"none"}') + f".{body}.",
        "with alg None and a signature": token({"alg": "None", "kid": "rsa"}, claims(), rs256(rsa_key)),
        "without alg": token({"kid": "rsa"}, claims(), rs256(rsa_key)),
        "with HS256 and the public key as PEM": token({"alg": "HS256", "kid": "rsa"}, claims(), hs256(pem)),
        "with HS256 and the modulus": token({"alg": "HS256", "kid": "rsa"}, claims(), hs256(
            rsa_key.public_key().public_numbers().n.to_bytes(256, "big"))),
        "with HS256 and nothing": token({"alg": "HS256"}, claims(), hs256(b"")),
        "with RS384": token({"alg": "RS384", "kid": "rsa"}, claims(), rs384(rsa_key)),
        "with PS256": token({"alg": "PS256", "kid": "rsa"}, claims(), ps256(rsa_key)),
        "with ES384": token({"alg": "ES384", "kid": "p384"}, claims(), es(p384, 48, hashes.SHA384())),
        "with ES256 on P-384": token({"alg": "ES256", "kid": "p384"}, claims(), es(p384, 48, hashes.SHA256())),
        "with a short key": token({"alg": "RS256", "kid": "short"}, claims(), rs256(short)),
        "with a key for encryption": token({"alg": "RS256", "kid": "enc"}, claims(), rs256(other)),
        "with another key": token(R, claims(), rs256(other)),
        "with a key that is not named": token({"alg": "RS256", "kid": "unknown"}, claims(), rs256(rsa_key)),
        "with the other key's name": token({"alg": "RS256", "kid": "p256"}, claims(), rs256(rsa_key)),
        "with its own key in it": token(R | {"jwk": rsa_jwk(other, "rsa")}, claims(), rs256(other)),
        "with something critical": token(R | {"crit": ["b64"], "b64": True}, claims(), rs256(rsa_key)),
        "with other claims": f"{head}.{tampered}.{signature}",
        "with another signature": good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"),
        "with padding": good + "=",
        "with claims that are no object": token(R, "[]", rs256(rsa_key)),
        "of four parts": good + ".0123456789",
        "of no parts": "0123456789abcdef.0123456789abcdef.0123456789abcdef",
    }
    json.dump(jwks, open(f"{HERE}/jwks.json", "w"), indent=1)
    json.dump(tokens, open(f"{HERE}/tokens.json", "w"), indent=1)


main()
