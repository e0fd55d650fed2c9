//! The members of a tar file: where the content of each regular file lies. POSIX (ustar and pax) and GNU forms.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Headers and contents fill whole blocks.
pub(crate) const BLOCK: u64 = 512;
/// Longest name or pax header that is read: more is an attack or an accident.
const MAX_NAME_BYTES: u64 = 1 << 16;

/// A regular file in a tar file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its content begins.
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
}

/// Lists the regular files, in the order in which they lie.
///
/// # Errors
/// What is wrong with the file, or why it cannot be read.
pub(super) fn members(file: &File) -> Result<Vec<Member>, String> {
    let end = file.metadata().map_err(|error| format!("cannot read: {error}"))?.len();
    let (mut members, mut at, mut next) = (Vec::new(), 0, Overrides::default());
    while at + BLOCK <= end {
        let header = read(file, at, BLOCK)?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(members);
        }
        check(&header).ok_or_else(|| format!("no tar header at byte {at}"))?;
        let size_bytes = match next.size_bytes {
            Some(size_bytes) => size_bytes,
            None => number(&header[124..136]).ok_or_else(|| format!("no size in the header at byte {at}"))?,
        };
        let offset = at + BLOCK;
        if size_bytes > end - offset {
            return Err(format!("cut off: the member at byte {at} has {size_bytes} bytes"));
        }
        match header[156] {
            b'L' => next.name = Some(text(&read_short(file, offset, size_bytes)?)),
            b'x' => next.take_pax(&read_short(file, offset, size_bytes)?),
            b'0' | 0 | b'7' => {
                let name = next.name.take().unwrap_or_else(|| name(&header));
                members.push(Member { name, offset, size_bytes });
                next = Overrides::default();
            }
            // Of all files that follow: none of what such headers say is needed.
            b'g' => {}
            _ => next = Overrides::default(),
        }
        at = offset + size_bytes.next_multiple_of(BLOCK);
    }
    match members.is_empty() {
        true => Err("no tar file: too short".into()),
        // Some writers leave the blocks of zeros out.
        false => Ok(members),
    }
}

/// What headers before a file's own say about it.
#[derive(Default)]
struct Overrides {
    name: Option<String>,
    size_bytes: Option<u64>,
}

impl Overrides {
    /// Reads records of the form `LENGTH KEY=VALUE\n`.
    fn take_pax(&mut self, records: &[u8]) {
        for record in text(records).lines() {
            let Some((key, value)) = record.split_once(' ').and_then(|(_, pair)| pair.split_once('=')) else {
                continue;
            };
            match key {
                "path" => self.name = Some(value.to_owned()),
                "size" => self.size_bytes = value.parse().ok(),
                _ => {}
            }
        }
    }
}

/// What ends a tar file.
pub(crate) const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// The header of a regular file, in ustar's form; nothing in it depends on who writes it, or when.
///
/// # Panics
/// When the name has more than 100 bytes.
pub(crate) fn header(name: &str, size_bytes: u64) -> [u8; BLOCK as usize] {
    let mut header = [0; BLOCK as usize];
    let mut set = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    assert!(name.len() <= 100, "names of members are short");
    set(0, name.as_bytes());
    set(100, b"0000644\0");
    set(108, b"0000000\0");
    set(116, b"0000000\0");
    set(124, format!("{size_bytes:011o} ").as_bytes());
    set(136, b"00000000000 ");
    set(148, b"        ");
    set(156, b"0");
    set(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Zeros that follow a content so that it fills whole blocks.
pub(crate) fn padding(size_bytes: u64) -> &'static [u8] {
    &END[..(size_bytes.next_multiple_of(BLOCK) - size_bytes) as usize]
}

fn read(file: &File, offset: u64, size_bytes: u64) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; size_bytes as usize];
    file.read_exact_at(&mut bytes, offset).map_err(|error| format!("cannot read: {error}"))?;
    Ok(bytes)
}

fn read_short(file: &File, offset: u64, size_bytes: u64) -> Result<Vec<u8>, String> {
    if size_bytes > MAX_NAME_BYTES {
        return Err(format!("a name of {size_bytes} bytes"));
    }
    read(file, offset, size_bytes)
}

/// Compares the checksum: the sum of all bytes, of which its own count as spaces.
fn check(header: &[u8]) -> Option<()> {
    let own = 148..156;
    let sum: u64 =
        (0..).zip(header).map(|(at, &byte)| if own.contains(&at) { 32 } else { u64::from(byte) }).sum();
    (number(&header[own.clone()])? == sum).then_some(())
}

/// Octal digits, or binary where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len().saturating_sub(8));
        let is_small = high.first() == Some(&0x80) && high[1..].iter().all(|&byte| byte == 0);
        return is_small.then(|| low.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)));
    }
    let digits = text(field);
    u64::from_str_radix(digits.trim_matches(' '), 8).ok()
}

/// The name of a header, with the folders that ustar keeps apart.
fn name(header: &[u8]) -> String {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    match header[257..262] == *b"ustar" && header[262] == 0 && !prefix.is_empty() {
        true => format!("{prefix}/{name}"),
        false => name,
    }
}

/// Text up to the first zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use proptest::prelude::*;

    use super::*;

    /// Headers and contents, and the end.
    fn written(members: &[(&str, u8, &[u8])]) -> File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        for &(name, kind, content) in members {
            let mut header = header(name, content.len() as u64);
            header[156] = kind;
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            for part in [&header[..], content, padding(content.len() as u64)] {
                file.write_all(part).expect("writes");
            }
        }
        file.write_all(&END).expect("writes");
        file
    }

    fn names(file: &File) -> Vec<(String, u64, u64)> {
        let members = members(file).expect("a tar file");
        members.into_iter().map(|member| (member.name, member.offset, member.size_bytes)).collect()
    }

    #[test]
    fn regular_files_are_found_and_others_passed_over() {
        let file =
            written(&[("a.jpg", b'0', &[7; 513]), ("folder/", b'5', b""), ("folder/b.cls", b'0', b"3")]);
        assert_eq!(names(&file), [("a.jpg".into(), 512, 513), ("folder/b.cls".into(), 2560, 1)]);
    }

    #[test]
    fn long_names_and_sizes_of_other_forms_are_read() {
        let long = format!("{}/x.png", "n".repeat(200));
        let pax = format!("217 path={long}\n");
        let file = written(&[
            ("././@LongLink", b'L', long.as_bytes()),
            ("short.png", b'0', b"1"),
            ("pax", b'x', pax.as_bytes()),
            ("short.png", b'0', b"22"),
            ("last.png", b'0', b"333"),
        ]);
        let names: Vec<String> = names(&file).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, [long.clone(), long, "last.png".into()]);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\x02"), Some(258));
        assert_eq!(number(b"00000000017\0"), Some(15));
    }

    #[test]
    fn what_is_cut_off_or_no_tar_file_says_so() {
        let file = written(&[("a.jpg", b'0', &[7; 2000])]);
        file.set_len(1500).expect("cuts");
        assert_eq!(members(&file), Err("cut off: the member at byte 0 has 2000 bytes".into()));
        file.set_len(100).expect("cuts");
        assert_eq!(members(&file), Err("no tar file: too short".into()));
        let mut file = written(&[("a.jpg", b'0', b"1")]);
        file.rewind().expect("seeks");
        file.write_all(b"X").expect("writes");
        assert_eq!(members(&file), Err("no tar header at byte 0".into()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at in 0usize..512, value: u8) {
            let mut file = written(&[("a.jpg", b'0', &bytes)]);
            file.seek(std::io::SeekFrom::Start(at as u64)).expect("seeks");
            file.write_all(&[value]).expect("writes");
            let _ = members(&file);
        }
    }
}
