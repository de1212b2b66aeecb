//! Credentials in local files: reloaded when they change, and never by halves.

use std::fs;

use mpc_auth_proxy::{secret::Secret, testserver::AccessKey};
use serde_json::json;

use super::{call, cancels, harness::wait_for, status};
use crate::harness::{ACCESS_KEY, PROJECT, Proxy, SECRET_KEY, Setup};

fn accept(proxy: &Proxy, id: &str, secret: &str, token: Option<&str>) {
    proxy.cloud().put_access_key(AccessKey {
        security_token: token.map(Secret::new),
        ..AccessKey::permanent(id, secret, PROJECT)
    });
}

/// Calls until the record names a key with this prefix. None of the calls may fail.
fn until_it_signs_with(proxy: &Proxy, hint: &str) {
    wait_for("signature with the new key", || {
        let answer = call(proxy);
        assert_eq!(answer.status, 204, "{answer:?}");
        (proxy.record(&answer)["credential.key_hint"] == json!(hint)).then_some(())
    });
}

#[test]
fn keys_in_files_are_rotated_under_load_and_never_half() {
    let proxy = Setup::new()
        .file("st", "token-0")
        .credential("{ files: { access_key: ak, secret_key: sk, security_token: st } }")
        .start();
    accept(&proxy, ACCESS_KEY, SECRET_KEY, Some("token-0"));
    assert_eq!(call(&proxy).status, 204);
    for round in 1..=20 {
        let (id, secret, token) =
            (format!("R{round:03}ACCESSKEY000000"), format!("secret-{round}"), format!("token-{round}"));
        accept(&proxy, &id, &secret, Some(&token));
        proxy.write("ak", &id);
        assert_eq!(call(&proxy).status, 204, "half of it is new");
        proxy.write("sk", &secret);
        assert_eq!(call(&proxy).status, 204, "most of it is new");
        proxy.write("st", &token);
        until_it_signs_with(&proxy, &id[..4]);
    }
    assert!(cancels(&proxy).iter().all(|seen| seen.status == Some(204)));
}

#[test]
fn a_mounted_secret_that_is_swapped_is_followed() {
    let setup = Setup::new().credential("{ files: { access_key: mounted/ak, secret_key: mounted/sk } }");
    let mounted = setup.path("mounted");
    let version = |name: &str, id: &str, secret: &str| {
        fs::create_dir_all(mounted.join(name)).unwrap();
        fs::write(mounted.join(name).join("ak"), id).unwrap();
        fs::write(mounted.join(name).join("sk"), secret).unwrap();
    };
    let swap = |name: &str| {
        std::os::unix::fs::symlink(name, mounted.join("..next")).unwrap();
        fs::rename(mounted.join("..next"), mounted.join("..data")).unwrap();
    };
    version("v1", ACCESS_KEY, SECRET_KEY);
    swap("v1");
    for key in ["ak", "sk"] {
        std::os::unix::fs::symlink(format!("..data/{key}"), mounted.join(key)).unwrap();
    }
    let proxy = setup.start();
    assert_eq!(call(&proxy).status, 204);
    accept(&proxy, "NEWACCESSKEY00000001", "new-secret", None);
    version("v2", "NEWACCESSKEY00000001", "new-secret");
    swap("v2");
    until_it_signs_with(&proxy, "NEWA");
}

#[test]
fn a_profile_is_followed_and_a_broken_one_changes_nothing() {
    let profile = |id: &str, secret: &str| format!("[basic]\nak = {id}\nsk = {secret}\nproject_id = x\n");
    let proxy = Setup::new()
        .file("profile", &profile(ACCESS_KEY, SECRET_KEY))
        .credential("{ profile: { path: profile } }")
        .start();
    assert_eq!(call(&proxy).status, 204);
    proxy.write("profile", "[basic]\nak = half\n");
    wait_for("problem in the status", || status(&proxy)["problem"].as_str().map(str::to_owned));
    assert!(status(&proxy)["problem"].as_str().unwrap().contains("has no `sk` in [basic]"));
    assert_eq!((call(&proxy).status, &status(&proxy)["ready"]), (204, &json!(true)));
    accept(&proxy, "NEWACCESSKEY00000001", "new-secret", None);
    proxy.write("profile", &profile("NEWACCESSKEY00000001", "new-secret"));
    until_it_signs_with(&proxy, "NEWA");
}

#[test]
fn the_sdks_own_profile_is_found() {
    let setup = Setup::new();
    let home = setup.path("home");
    fs::create_dir_all(home.join(".huaweicloud")).unwrap();
    fs::write(home.join(".huaweicloud/credentials"), format!("[basic]\nak={ACCESS_KEY}\nsk={SECRET_KEY}\n"))
        .unwrap();
    for source in ["{ profile: {} }", "{ auto: {} }"] {
        let proxy = Setup::new().credential(source).variable("HOME", home.to_str().unwrap()).start();
        assert_eq!(call(&proxy).status, 204, "{source}");
    }
}

#[test]
fn the_first_source_says_what_it_looked_at() {
    let proxy = Setup::new()
        .credential("{ auto: {} }")
        .variable("HUAWEICLOUD_SDK_AK", ACCESS_KEY)
        .variable("HUAWEICLOUD_SDK_SK", SECRET_KEY)
        .start();
    assert_eq!(call(&proxy).status, 204);
    let looks = status(&proxy)["looked_at"].clone();
    let unset = |source: &str, name: &str| json!({ "source": source, "passed_over": format!("the environment variable {name} is not set") });
    assert_eq!(
        looks,
        json!([
            unset("pod_identity", "HC_CONTAINER_CREDENTIALS_FULL_URI"),
            unset("oidc", "HUAWEICLOUD_SDK_IDP_ID"),
            unset("oidc_sts", "HUAWEICLOUD_OIDC_PROVIDER_URN"),
            { "source": "environment", "passed_over": null },
        ])
    );
}

#[test]
fn a_user_token_is_followed() {
    let setup = Setup::new().file("token", "first-token").credential("{ token_file: { path: token } }");
    setup.cloud().accept_token(Secret::new("first-token"), PROJECT);
    let proxy = setup.start();
    assert_eq!(call(&proxy).status, 204);
    proxy.cloud().accept_token(Secret::new("second-token"), PROJECT);
    proxy.write("token", "second-token\n");
    wait_for("call with the new token", || {
        assert_eq!(call(&proxy).status, 204);
        let last = cancels(&proxy).pop().unwrap();
        (last.header("x-auth-token") == Some("second-token")).then_some(())
    });
}

#[test]
fn a_file_that_is_missing_or_empty_at_the_start_is_waited_for() {
    for (file, folder, empty) in
        [("keys/sk", true, false), ("keys/sk", true, true), ("./keys/sk", false, false)]
    {
        let mut setup =
            Setup::new().credential(&format!("{{ files: {{ access_key: ak, secret_key: {file} }} }}"));
        if folder {
            setup = setup.folder("keys");
        }
        if empty {
            setup = setup.file("keys/sk", "");
        }
        let checked = setup.run("check");
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        let told = String::from_utf8(checked.stderr).unwrap();
        assert!(told.contains("warning: ") && told.contains("the credential waits for"), "{told}");
        let proxy = setup.start();
        assert_eq!((call(&proxy).status, proxy.probe("/readyz").status), (503, 503));
        if !folder {
            fs::create_dir(proxy.path("keys")).unwrap();
        }
        proxy.write("keys/sk", SECRET_KEY);
        wait_for("credential", || (proxy.probe("/readyz").status == 200).then_some(()));
        assert_eq!(call(&proxy).status, 204);
    }
}
