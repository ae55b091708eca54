use std::collections::BTreeMap;

/// Something in the registry that refers to an image: a layer of a referring manifest, with its annotations.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attachment {
    pub media_type: String,
    pub annotations: BTreeMap<String, String>,
    /// Text in every form that is known; what is not UTF-8 is none of them.
    pub text: String,
    /// Why the registry's word for it cannot be had: then it vouches for nothing, and hides nothing either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Attachment {
    /// Something that refers to the image and cannot be read.
    pub fn unreadable(media_type: &str, why: &str) -> Self {
        let (media_type, fault) = (media_type.to_owned(), Some(why.to_owned()));
        Self { media_type, annotations: BTreeMap::new(), text: String::new(), fault }
    }
}
