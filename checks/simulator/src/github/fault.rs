use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The reply is this one, and nothing happens.
    Status { status: u16, headers: Vec<(String, String)>, message: String },
    /// It happens, later.
    Delay(Duration),
    /// It happens, but the connection is cut without a reply.
    DropReply,
    /// Another host is to be asked.
    Redirect(String),
}

/// Something that goes wrong with the next requests that fit.
#[derive(Debug, Clone)]
pub struct Fault {
    pub method: &'static str,
    /// A part of the path.
    pub path: String,
    /// How often.
    pub count: usize,
    pub kind: Kind,
}

impl Fault {
    pub fn new(method: &'static str, path: &str, kind: Kind) -> Self {
        Self { method, path: path.to_owned(), count: 1, kind }
    }

    /// GitHub's own refusal, with headers.
    pub fn status(method: &'static str, path: &str, status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self::new(method, path, Kind::Status { status, headers, message: "a fault on demand".to_owned() })
    }

    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.count = count;
        self
    }
}
