//! A server on the loopback, in a thread of its own; it ends when dropped.

use std::{thread, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

pub struct Loopback {
    url: String,
    port: u16,
    routes: Router,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Loopback {
    /// Serve what `make` makes of the server's own address, on this port (0: any that is free).
    pub fn serve(port: u16, make: impl FnOnce(&str) -> anyhow::Result<Router>) -> anyhow::Result<Self> {
        let mut loopback = Self { url: String::new(), port, routes: Router::new(), stop: None, thread: None };
        let (runtime, listener) = loopback.listen()?;
        loopback.routes = make(&loopback.url)?;
        loopback.run(runtime, listener);
        Ok(loopback)
    }

    /// End, with every connection cut, and be back on the same port after a while.
    pub fn restart(&mut self, away: Duration) -> anyhow::Result<()> {
        self.end();
        thread::sleep(away);
        let (runtime, listener) = self.listen()?;
        self.run(runtime, listener);
        Ok(())
    }

    fn listen(&mut self) -> anyhow::Result<(Runtime, TcpListener)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", self.port)))?;
        let address = listener.local_addr()?;
        (self.url, self.port) = (format!("http://{address}"), address.port());
        Ok((runtime, listener))
    }

    fn run(&mut self, runtime: Runtime, listener: TcpListener) {
        let routes = self.routes.clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let serve = axum::serve(listener, routes);
                tokio::select! { _ = serve => {}, _ = stopped => {} }
            });
            runtime.shutdown_background();
        });
        (self.stop, self.thread) = (Some(stop), Some(thread));
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.end();
    }
}
