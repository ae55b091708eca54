use std::collections::BTreeMap;

/// Something in the registry that refers to an image: a layer of a referring manifest, with its annotations.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attachment {
    pub media_type: String,
    pub annotations: BTreeMap<String, String>,
    /// Text in every form that is known; what is not UTF-8 is none of them.
    pub text: String,
}
