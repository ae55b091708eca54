//! A NAR on its way out: read, hashed, compressed and hashed again in pieces, so that its size does not matter.

use std::io::{self, BufReader, Read, Write};

use harmonia_store_core::store_path::StorePath;
use harmonia_utils_hash::Sha256;
use sha2::{Digest as _, Sha256 as Hasher};

use super::{Error, PathInfo, compression::Compression, meter::Meter, store::Store};

/// A piece of a file, as it goes over the wire.
pub type Piece = bytes::Bytes;

/// How large a piece is.
pub const PIECE: usize = 64 << 10;

/// The whole of a compressed NAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    pub hash: Sha256,
    /// In bytes.
    pub size: u64,
}

/// Compress a path's NAR into `take`, piece by piece; blocks. What comes of a path whose content is not what Nix
/// noted is an error at its end: whoever takes the pieces announces nothing before.
pub fn pack(
    store: &Store,
    info: &PathInfo,
    compression: Compression,
    threads: u32,
    meter: &Meter,
    take: impl FnMut(Piece) -> io::Result<()>,
) -> Result<Packed, Error> {
    let failed = |why: io::Error| Error::Read { path: store.dir().display(&info.path).to_string(), why };
    let mut nar = open(store, &info.path)?;
    let sink = Pieces { hasher: Hasher::new(), size: 0, filled: Vec::with_capacity(PIECE), take };
    let mut encoder = compression.encoder(sink, info.nar_size, threads).map_err(failed)?;
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0_u64, vec![0; PIECE]);
    loop {
        let length = nar.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            break;
        }
        size += length as u64;
        if size > info.nar_size {
            break;
        }
        meter.read(length as u64);
        hasher.update(&buffer[..length]);
        encoder.write_all(&buffer[..length]).map_err(failed)?;
    }
    if size != info.nar_size || hasher.finalize()[..] != *info.nar_hash.digest_bytes() {
        return Err(Error::Damaged { path: store.dir().display(&info.path).to_string() });
    }
    encoder.finish().and_then(Pieces::finish).map_err(failed)
}

/// The NAR of a path, bit by bit what `nix-store --dump` writes.
fn open(store: &Store, path: &StorePath) -> Result<Box<dyn Read>, Error> {
    let Some(real) = store.real(path).filter(|real| is_utf8(real)) else {
        return Ok(Box::new(store.dump(path)?));
    };
    let failed = |why: io::Error| Error::Read { path: real.display().to_string(), why };
    let nar = nix_nar::Encoder::builder(&real).internal_buffer_size(2 * PIECE).build();
    let nar = nar.map_err(|why| failed(io::Error::other(why)))?;
    // It takes no buffer in which a long link's target has no room.
    Ok(Box::new(BufReader::with_capacity(PIECE, nar)))
}

/// Whether every name below is one that the NAR's library can read; Nix itself takes any bytes.
fn is_utf8(path: &std::path::Path) -> bool {
    let Ok(metadata) = path.symlink_metadata() else { return true };
    if metadata.is_symlink() {
        return std::fs::read_link(path).is_ok_and(|target| target.to_str().is_some());
    }
    if !metadata.is_dir() {
        return true;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.into_iter().all(|entry| entry.file_name().to_str().is_some() && is_utf8(&entry.path()))
}

/// Gathers what an encoder writes into pieces, and hashes them.
struct Pieces<F> {
    hasher: Hasher,
    size: u64,
    filled: Vec<u8>,
    take: F,
}

impl<F: FnMut(Piece) -> io::Result<()>> Pieces<F> {
    fn hand_over(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.filled, Vec::with_capacity(PIECE));
        self.hasher.update(&piece);
        self.size += piece.len() as u64;
        (self.take)(piece.into())
    }

    fn finish(mut self) -> io::Result<Packed> {
        if !self.filled.is_empty() {
            self.hand_over()?;
        }
        Ok(Packed { hash: Sha256::new(&self.hasher.finalize()), size: self.size })
    }
}

impl<F: FnMut(Piece) -> io::Result<()>> Write for Pieces<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (PIECE - self.filled.len()).min(bytes.len());
        self.filled.extend_from_slice(&bytes[..room]);
        if self.filled.len() == PIECE {
            self.hand_over()?;
        }
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
