//! One NAR on its way: a small one is compressed in memory, a larger one goes out while it is made.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use harmonia_utils_hash::Sha256;
use reqwest::StatusCode;
use tokio::sync::{Semaphore, mpsc};

use super::{Push, blocking};
use crate::cache::{
    Error, PathInfo,
    compression::Compression,
    narinfo::{self, File},
    pack::{self, Packed, Piece},
    place::Stream,
    processors,
    retry::delivered,
};

/// A NAR up to here is compressed in memory.
const SMALL: u64 = 4 << 20;
/// Memory for small ones, in KiB of their NARs.
const ROOM: usize = 32 << 10;
/// Pieces of a large one between the compressor and the wire.
const PIECES: usize = 8;
/// Levels from here on take so much memory for each thread that one must do.
const HEAVY: i32 = 13;

/// More threads than that take more memory than a whole push may, and are faster than most lines.
const MOST: usize = 8;

/// What goes on side by side.
pub struct Limits {
    room: Semaphore,
    processors: Semaphore,
    large: Semaphore,
}

impl Limits {
    pub fn new() -> Self {
        Self {
            room: Semaphore::new(ROOM),
            processors: Semaphore::new(processors()),
            large: Semaphore::new(1),
        }
    }
}

impl Push {
    pub(super) async fn send_nar(self: &Arc<Self>, limits: &Limits, info: &PathInfo) -> Result<File, Error> {
        let (name, packed) = if info.nar_size <= SMALL {
            self.send_small(limits, info).await?
        } else {
            let _alone = limits.large.acquire().await;
            if self.place.wants_hash() {
                self.send_known(info).await?
            } else {
                let name = self.streamed_name(info);
                (name.clone(), self.send_large(&name, info).await?)
            }
        };
        Ok(File { url: name, compression: self.compression, hash: packed.hash, size: packed.size })
    }

    async fn send_small(
        self: &Arc<Self>,
        limits: &Limits,
        info: &PathInfo,
    ) -> Result<(String, Packed), Error> {
        let room = u32::try_from(info.nar_size >> 10).unwrap_or(0) + 64;
        let _room = limits.room.acquire_many(room).await;
        let processor = limits.processors.acquire().await;
        let (of, info) = (self.clone(), info.clone());
        let (bytes, packed) = blocking(move || {
            let mut bytes = Vec::new();
            let packed = of.pack(&info, 0, |piece| {
                bytes.extend_from_slice(&piece);
                Ok(())
            })?;
            Ok((Piece::from(bytes), packed))
        })
        .await?;
        drop(processor);
        let name = self.file_name(&packed.hash);
        delivered(|| self.place.put(&name, bytes.clone())).await?;
        self.meter.sent(packed.size);
        Ok((name, packed))
    }

    async fn send_large(self: &Arc<Self>, name: &str, info: &PathInfo) -> Result<Packed, Error> {
        let size = (self.compression == Compression::None).then_some(info.nar_size);
        match delivered(|| self.streamed(name, info, size, None)).await {
            // It takes nothing without a length, which the first pass over it tells.
            Err(Error::Refused { status: StatusCode::LENGTH_REQUIRED, .. }) if size.is_none() => {
                let packed = self.packed_ahead(info).await?;
                delivered(|| self.streamed(name, info, Some(packed.size), None)).await
            }
            sent => sent,
        }
    }

    /// To a place that wants to know what it gets: compressed twice, because no disk has room for it for certain.
    async fn send_known(self: &Arc<Self>, info: &PathInfo) -> Result<(String, Packed), Error> {
        let packed = self.packed_ahead(info).await?;
        let name = self.file_name(&packed.hash);
        let sent = delivered(|| self.streamed(&name, info, Some(packed.size), Some(packed.hash))).await?;
        Ok((name, sent))
    }

    async fn packed_ahead(self: &Arc<Self>, info: &PathInfo) -> Result<Packed, Error> {
        let (of, info) = (self.clone(), info.clone());
        blocking(move || of.pack(&info, of.threads(), |_| Ok(()))).await
    }

    async fn streamed(
        self: &Arc<Self>,
        name: &str,
        info: &PathInfo,
        size: Option<u64>,
        hash: Option<Sha256>,
    ) -> Result<Packed, Error> {
        let (send, pieces) = mpsc::channel(PIECES);
        let (of, info) = (self.clone(), info.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let noted = is_over.clone();
        let packing = tokio::task::spawn_blocking(move || {
            let packed = of.pack(&info, of.threads(), |piece| {
                let size = piece.len() as u64;
                send.blocking_send(Ok(piece)).map_err(|_| {
                    noted.store(true, Ordering::Relaxed);
                    io::Error::other("the upload has ended")
                })?;
                of.meter.sent(size);
                Ok(())
            });
            if packed.is_err() {
                // What went out so far is no file.
                let _ = send.blocking_send(Err(io::Error::other("its content cannot be had")));
            }
            packed
        });
        let uploaded = self.place.stream(name, Stream { pieces, size, hash }).await;
        let packed = packing.await.unwrap_or_else(|why| std::panic::resume_unwind(why.into_panic()));
        match (packed, uploaded) {
            (Ok(packed), Ok(())) => Ok(packed),
            // Who failed first has the reason.
            (Err(_), Err(why)) if is_over.load(Ordering::Relaxed) => Err(why),
            (Err(why), _) | (Ok(_), Err(why)) => Err(why),
        }
    }

    fn pack(
        &self,
        info: &PathInfo,
        threads: u32,
        take: impl FnMut(Piece) -> io::Result<()>,
    ) -> Result<Packed, Error> {
        pack::pack(&self.store, info, self.compression, threads, &self.meter, take)
    }

    /// How many threads compress a large one, beside the one that reads and hashes it.
    fn threads(&self) -> u32 {
        match self.compression {
            Compression::Zstd(level) if level < HEAVY => {
                u32::try_from((processors() - 1).clamp(1, MOST)).unwrap_or(1)
            }
            _ => 0,
        }
    }

    fn file_name(&self, hash: &Sha256) -> String {
        format!("nar/{}.{}", bare(hash), self.compression.suffix())
    }

    /// For a file whose own hash is not known when it begins: that of the NAR, and how it is compressed.
    fn streamed_name(&self, info: &PathInfo) -> String {
        let level = match self.compression {
            Compression::None => String::new(),
            Compression::Zstd(level) => format!("-{level}"),
            Compression::Xz(level) => format!("-{level}"),
        };
        format!("nar/{}{level}.{}", bare(&info.nar_hash), self.compression.suffix())
    }
}

/// A hash in Nix's base 32, without its kind: part of a file's name.
fn bare(hash: &Sha256) -> String {
    narinfo::shown(hash).trim_start_matches("sha256:").to_owned()
}
