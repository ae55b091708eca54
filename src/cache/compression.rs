//! How a NAR is made smaller on its way out.

use std::io::{self, Write};

use liblzma::write::XzEncoder;
use zstd::zstd_safe::CParameter;

/// A form that Nix reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Zstd(i32),
    Xz(u32),
}

/// What [`Compression::of`] refuses.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    #[error("'{0}' is no compression: give zstd, xz or none")]
    Unknown(String),
    #[error("{name} has no level {level}: give one from {first} to {last}")]
    Level { name: &'static str, level: i32, first: i32, last: i32 },
}

const ZSTD: (i32, i32, i32) = (1, 3, 19);
/// What each thread has in its hands, and how much of what came before it looks back at (half a window, two steps from
/// all): the library's own choice takes six times the memory, for a hundredth of the size.
const JOB: u32 = 512 << 10;
const OVERLAP: u32 = 7;
/// Above that xz takes more memory than a whole push may.
const XZ: (i32, i32, i32) = (0, 6, 6);

impl Compression {
    /// By the name that narinfos have for it, and a level; without one the library's own.
    pub fn of(name: &str, level: Option<i32>) -> Result<Self, CompressionError> {
        let checked = |name, (first, usual, last)| match level.unwrap_or(usual) {
            level if (first..=last).contains(&level) => Ok(level),
            level => Err(CompressionError::Level { name, level, first, last }),
        };
        match name {
            "none" => Ok(Self::None),
            "zstd" => checked("zstd", ZSTD).map(Self::Zstd),
            "xz" => Ok(Self::Xz(checked("xz", XZ)?.unsigned_abs())),
            other => Err(CompressionError::Unknown(other.to_owned())),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd(_) => "zstd",
            Self::Xz(_) => "xz",
        }
    }

    /// What the file's name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "nar",
            Self::Zstd(_) => "nar.zst",
            Self::Xz(_) => "nar.xz",
        }
    }

    /// A writer that compresses into `out`, with so many threads beside its caller's where the form has them.
    pub fn encoder<W: Write>(self, out: W, size: u64, threads: u32) -> io::Result<Encoder<W>> {
        Ok(match self {
            Self::None => Encoder::None(out),
            Self::Zstd(level) => {
                let mut encoder = zstd::Encoder::new(out, level)?;
                // A known size lets it take a small window for a small NAR.
                encoder.set_pledged_src_size(Some(size))?;
                if threads > 0 {
                    encoder.multithread(threads)?;
                    encoder.set_parameter(CParameter::JobSize(JOB))?;
                    encoder.set_parameter(CParameter::OverlapSizeLog(OVERLAP))?;
                }
                Encoder::Zstd(encoder)
            }
            Self::Xz(level) => Encoder::Xz(XzEncoder::new(out, level)),
        })
    }
}

pub enum Encoder<W: Write> {
    None(W),
    Zstd(zstd::Encoder<'static, W>),
    Xz(XzEncoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Write what is left, and give back what it was written to.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(out) => out.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Compression;

    #[test]
    fn levels_are_checked_when_they_are_given() {
        assert_eq!(Compression::of("zstd", None).unwrap(), Compression::Zstd(3));
        assert_eq!(Compression::of("xz", Some(0)).unwrap(), Compression::Xz(0));
        assert!(Compression::of("xz", Some(9)).unwrap_err().to_string().contains("0 to 6"));
        assert!(Compression::of("zstd", Some(40)).unwrap_err().to_string().contains("1 to 19"));
        assert!(Compression::of("bzip2", None).unwrap_err().to_string().contains("zstd, xz or none"));
    }
}
