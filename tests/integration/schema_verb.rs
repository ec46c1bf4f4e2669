//! `sluicegate schema`: what editors check a configuration with.

use serde_json::Value;
use sluicegate_tests::{Site, guests};

#[tokio::test]
async fn the_schema_is_one_document_with_those_of_all_plugins_whatever_the_state_of_the_file() {
    for text in
        [None, Some("{ this is no configuration"), Some("{ \"listeners\": [{ \"address\": \"127.0.0.1:0\" }] }")]
    {
        let site = Site::empty().plugin("my_own", guests::bundled("cors"));
        if let Some(text) = text {
            site.write_text(text);
        }
        let output = tokio::task::spawn_blocking(move || site.run(&["schema"])).await.unwrap();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        let schema: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["routes"].is_object());
        for plugin in ["auth", "cors", "log", "my-own", "rate-limit", "transform"] {
            assert!(schema["$defs"][format!("plugin:{plugin}")].is_object(), "{plugin}");
        }
    }
}
