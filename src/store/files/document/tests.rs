//! The format, as Traefik writes and reads it.

use super::*;

/// As Traefik 3.7 writes it.
const WRITTEN: &str = r#"{
  "le": {
    "Account": {
      "Email": "a@example.com",
      "Registration": {
        "body": {
          "status": "valid",
          "contact": [
            "mailto:a@example.com"
          ]
        },
        "uri": "https://acme-v02.api.letsencrypt.org/acme/acct/1"
      },
      "PrivateKey": "MIIJ"
    },
    "Certificates": [
      {
        "domain": {
          "main": "a.x",
          "sans": [
            "b.x",
            "*.c.x"
          ]
        },
        "certificate": "QQ==",
        "key": "Qg==",
        "Store": "default"
      }
    ]
  },
  "unused": {
    "Account": null,
    "Certificates": null
  }
}"#;

fn id(name: &str) -> Id {
    Id::of("", "le", &Names::new([Name::parse(name).unwrap()]).unwrap())
}

fn parts(domain: &[&str], chain: &str, key: &str) -> Parts {
    let domain = domain.iter().map(|name| (*name).to_owned()).collect();
    Parts { domain, chain: chain.to_owned(), key: key.to_owned() }
}

fn all(document: &Document) -> Vec<(String, Parts)> {
    let named = document.certificates();
    named.map(|(resolver, filed)| (resolver.to_owned(), filed.parts().ok().unwrap())).collect()
}

#[test]
fn what_traefik_wrote_comes_back_byte_for_byte() {
    assert_eq!(Document::parse(WRITTEN).unwrap().render(), WRITTEN);
}

#[test]
fn a_certificate_of_ours_is_written_as_traefik_would() {
    let mut document = Document::parse(WRITTEN).unwrap();
    for (_, filed) in document.certificates_mut() {
        filed.id = Some(id("a.x"));
    }
    document.remove(&id("a.x"));
    document.set("le", &id("a.x"), &parts(&["a.x", "b.x", "*.c.x"], "A", "B"));
    assert_eq!(document.render(), WRITTEN);
    let mut new = Document::default();
    new.set("a<b", &id("a.x"), &parts(&["a.x"], "A", "B"));
    let expected = "{\n  \"a\\u003cb\": {\n    \"Account\": null,\n    \"Certificates\": [\n      {\n        \
                    \"domain\": {\n          \"main\": \"a.x\"\n        },\n        \"certificate\": \
                    \"QQ==\",\n        \"key\": \"Qg==\",\n        \"Store\": \"default\"\n      }\n    \
                    ]\n  }\n}";
    assert_eq!(new.render(), expected);
}

#[test]
fn keys_count_in_any_case_and_what_is_unknown_stays() {
    let odd = r#"{"le":{"ACCOUNT":{"email":"x","KeyType":"4096"},"new":1.0e400,"certificates":[{"Domain":{"MAIN":"a.x"},"CERTIFICATE":"QQ==\n","Key":"Qg==","more":[1,2]}]}}"#;
    let mut document = Document::parse(odd).unwrap();
    assert!(all(&document) == [("le".to_owned(), parts(&["a.x"], "A", "B"))]);
    for (_, filed) in document.certificates_mut() {
        filed.id = Some(id("a.x"));
    }
    document.set("le", &id("a.x"), &parts(&["other"], "C", "D"));
    let text = document.render();
    for kept in ["\"KeyType\":\"4096\"", "1.0e400", "\"more\": [1,2]", "{\"MAIN\":\"a.x\"}"] {
        assert!(text.contains(kept), "{kept} is not in {text}");
    }
    let again = Document::parse(&text).unwrap();
    assert!(all(&again) == [("le".to_owned(), parts(&["a.x"], "C", "D"))]);
    assert!(text.contains("\"Store\": \"default\""), "{text}");
}

#[test]
fn nothing_is_an_empty_store_and_half_of_it_an_error() {
    for empty in ["", "\n", "{}", r#"{"le": null}"#, r#"{"le": {}}"#] {
        assert_eq!(Document::parse(empty).unwrap().certificates().count(), 0, "{empty}");
    }
    for end in 1..WRITTEN.len() {
        let broken = Document::parse(WRITTEN.get(..end).unwrap()).err();
        assert!(matches!(broken, Some(Fault::Broken(_))), "{end}: {broken:?}");
    }
    for wrong in ["[]", "1", r#"{"le": []}"#, r#"{"le": {"Certificates": {}}}"#] {
        assert!(Document::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_flat_format_of_traefik_1_is_known_as_such() {
    let certificates =
        r#"[{"Domain":{"Main":"a.x","SANs":null},"Certificate":"QQ==","Key":"Qg=="}]"#;
    let oldest = r#"{"Certs":[{"Domains":{"Main":"a.x"},"Certificate":{"Domain":"a.x","CertURL":"u","PrivateKey":"Qg==","Certificate":"QQ=="}}]}"#;
    for flat in [
        format!(
            r#"{{"Account":{{"Email":"x"}},"Certificates":{certificates},"HTTPChallenges":null}}"#
        ),
        format!(r#"{{"account":null,"certificates":{certificates}}}"#),
        format!(r#"{{"Email":"x","PrivateKey":"MIIJ","DomainsCertificate":{oldest}}}"#),
    ] {
        assert_eq!(Document::parse(&flat).err(), Some(Fault::Flat), "{flat}");
        let document = Document::parse_flat(&flat, "le").unwrap();
        assert!(all(&document) == [("le".to_owned(), parts(&["a.x"], "A", "B"))], "{flat}");
    }
    // resolvers may have these names
    let named = r#"{"Account": {"Account": null, "Certificates": null}, "certificates": null}"#;
    assert!(Document::parse(named).is_ok());
}
