//! `tls-server-end-point` of RFC 5929: the hash of the server's certificate that SCRAM binds a login to.

use ring::digest::{self, Algorithm};

/// Hashes `certificate` (DER) with the hash of its own signature, or SHA-256 where that is MD5 or SHA-1.
///
/// `None` where the signature names no single hash or one that ring lacks; then there is no channel binding.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(signature_oid(certificate)?)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// The second element of a `Certificate` is the algorithm of its signature, whose first element is an object id.
fn signature_oid(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_to_be_signed, rest) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (oid, _) = element(algorithm, OBJECT_ID)?;
    Some(oid)
}

fn signature_hash(oid: &[u8]) -> Option<&'static Algorithm> {
    let (last, family) = oid.split_last()?;
    match (family, *last) {
        (RSA, 4 | 5 | 11) | (ECDSA, 1) | (ECDSA_SHA2, 2) => Some(&digest::SHA256),
        (RSA, 12) | (ECDSA_SHA2, 3) => Some(&digest::SHA384),
        (RSA, 13) | (ECDSA_SHA2, 4) => Some(&digest::SHA512),
        _ => None,
    }
}

/// 1.2.840.113549.1.1: RSA signatures of PKCS#1, the hash in the last number.
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
/// 1.2.840.10045.4: ECDSA, 1 below it is SHA-1.
const ECDSA: &[u8] = b"\x2a\x86\x48\xce\x3d\x04";
/// 1.2.840.10045.4.3: ECDSA with a hash of the SHA-2 family in the last number.
const ECDSA_SHA2: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03";
const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;

/// Splits a DER element with `tag` off the front: its content and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [actual, rest @ ..] = bytes else { return None };
    let (length, rest) = length(rest)?;
    if *actual == tag { rest.split_at_checked(length) } else { None }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ 0..=0x7f, rest @ ..] => Some((usize::from(*short), rest)),
        [0x81, a, rest @ ..] => Some((usize::from(*a), rest)),
        [0x82, a, b, rest @ ..] => Some((usize::from(u16::from_be_bytes([*a, *b])), rest)),
        // A certificate is not longer than 64 KiB.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_follows_the_signature_of_the_certificate() {
        let small = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(server_end_point(&small).unwrap(), digest::digest(&digest::SHA256, &small).as_ref());
        let large = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&large).unwrap(), digest::digest(&digest::SHA384, &large).as_ref());
    }

    #[test]
    fn a_signature_without_a_hash_of_its_own_has_no_end_point() {
        assert_eq!(server_end_point(&certificate(&rcgen::PKCS_ED25519)), None);
    }

    #[test]
    fn md5_and_sha1_are_replaced_by_sha256() {
        let rsa_with_sha1 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05";
        assert_eq!(signature_hash(rsa_with_sha1), Some(&digest::SHA256));
        let ecdsa_with_sha1 = b"\x2a\x86\x48\xce\x3d\x04\x01";
        assert_eq!(signature_hash(ecdsa_with_sha1), Some(&digest::SHA256));
    }

    #[test]
    fn a_broken_certificate_is_no_panic() {
        let whole = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..whole.len() {
            assert_eq!(server_end_point(&whole[..end]), None);
        }
    }
}
