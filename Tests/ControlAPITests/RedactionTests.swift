import ControlAPI
import Testing

@Suite struct RedactionTests {
    @Test(
        "secrets go, and what is around them stays",
        arguments: [
            ("https://user:pass@host:1/x?a=1", "https://[hidden]@host:1/x?a=1"),
            ("http://h/write?token=abc&x=1", "http://h/write?token=[hidden]&x=1"),
            ("Authorization: Bearer abc.def", "Authorization: [hidden]"),
            ("refused: Bearer abc.def was wrong", "refused: Bearer [hidden] was wrong"),
            (#"{"password": "a b", "user": "u"}"#, #"{"password": "[hidden] b", "user": "u"}"#),
            ("api_key='k', b", "api_key='[hidden]', b"),
            ("X-Api-Key: 123", "X-Api-Key: [hidden]"),
            ("SetCredential=pass:hunter2 and more\nUser=c", "SetCredential=pass:[hidden]\nUser=c"),
            (
                "SetCredentialEncrypted=pass: \\\n  abc \\\n# why\n  def\nUser=c",
                "SetCredentialEncrypted=pass:[hidden]\n[hidden]\n[hidden]\n[hidden]\nUser=c"
            ),
            ("  SetCredential = hunter2", "  SetCredential =[hidden]"),
            ("a=1\nsecret = s3\nb", "a=1\nsecret = [hidden]\nb"),
        ])
    func goes(text: String, expected: String) {
        let redacted = Redaction.text(text)
        // A scheme before the secret may stay.
        #expect(
            redacted.replacing("Bearer [hidden]", with: "[hidden]")
                == expected.replacing("Bearer [hidden]", with: "[hidden]"))
    }

    @Test(
        "what is no secret stays as it is",
        arguments: [
            "", "the bearer_token_file is /etc/colossusd/token", "tokens", "no token was sent",
            "http://127.0.0.1:8428/api",
            "SetCredential is no more", "LoadCredential=pass:/etc/x", "a \\\nb",
            "2026-11-22T10:00:00Z info ready ingest=127.0.0.1:9480", "a password, and more", "größer: ja",
        ])
    func stays(text: String) {
        #expect(Redaction.text(text) == text)
    }

    @Test("headers of an endpoint are hidden as a whole")
    func headers() {
        #expect(Redaction.value("{X-Scope-OrgID: colossus}", of: "endpoints.a.headers") == "[hidden]")
        #expect(Redaction.value("https://u:p@h/", of: "endpoints.a.url") == "https://[hidden]@h/")
        #expect(Redaction.value("10s", of: "windows.finest") == "10s")
    }
}
