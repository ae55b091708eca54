//! A cache's folder over HTTP, for reading alone: the files of a cache, and nothing else that may lie there.

use std::{io, path::PathBuf};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;

/// Until the listener fails.
pub async fn serve(listener: TcpListener, folder: PathBuf) -> io::Result<()> {
    let files = ServeDir::new(folder).append_index_html_on_directories(false);
    let routes = Router::new().fallback_service(files).layer(from_fn(gate));
    axum::serve(listener, routes).await
}

/// A cache's own names come through, and reading alone.
async fn gate(request: Request<Body>, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if !is_of_a_cache(request.uri().path()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    next.run(request).await
}

fn is_of_a_cache(path: &str) -> bool {
    let name = path.trim_start_matches('/');
    let is_plain = |text: &str| {
        let all = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        all && !text.is_empty() && !text.starts_with('.')
    };
    match name.split_once('/') {
        None => {
            name == "nix-cache-info"
                || (is_plain(name) && (name.ends_with(".narinfo") || name.ends_with(".provenance.json")))
        }
        Some((folder, name)) => folder == "nar" && is_plain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_a_cache;

    #[test]
    fn nothing_but_a_caches_files_is_served() {
        for path in [
            "/nix-cache-info",
            "/0abc.narinfo",
            "/0abc.provenance.json",
            "/nar/0abc.nar.zst",
            "/nar/0abc-3.nar",
        ] {
            assert!(is_of_a_cache(path), "{path}");
        }
        for path in [
            "/",
            "/key",
            "/nar/",
            "/nar/.new-x",
            "/.new-x.narinfo",
            "/nar/../key",
            "/..%2fkey.narinfo",
            "/nar/a/b",
            "//etc/passwd",
        ] {
            assert!(!is_of_a_cache(path), "{path}");
        }
    }
}
