//! Digests of an index in sections, so that two nodes find the first image in which they differ with little traffic.
//!
//! Ranks compare [`Dataset::digest`](super::Dataset::digest) when they meet. Where it differs, they exchange the digests
//! of the sections, and then the lines of the first section that differs.

use std::ops::Range;

/// Images per section. Sections have a fixed length, so that the ones before a missing file still agree.
pub const SECTION_LEN: u64 = 4096;

/// Where two lists differ first: in an item, or where the shorter one ends.
pub fn first_difference(ours: &[String], theirs: &[String]) -> Option<usize> {
    let n_common = ours.len().min(theirs.len());
    let differs = (0..n_common).find(|&at| ours[at] != theirs[at]);
    differs.or((ours.len() != theirs.len()).then_some(n_common))
}

/// The images of a section of an index of `n_images`.
pub(super) fn range(section: usize, n_images: u64) -> Range<u64> {
    let start = (section as u64).saturating_mul(SECTION_LEN).min(n_images);
    start..(start + SECTION_LEN).min(n_images)
}

/// The digests of all sections, from the line of each image.
pub(super) fn digests(n_images: u64, line: impl Fn(u64) -> String) -> Vec<String> {
    let n_sections = n_images.div_ceil(SECTION_LEN) as usize;
    (0..n_sections).map(|section| digest_of_lines(range(section, n_images).map(&line))).collect()
}

/// Hex blake3 of lines.
pub(super) fn digest_of_lines(lines: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_ref().as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn the_first_difference_is_an_item_or_an_end() {
        let ours = lines(&["a", "b", "c"]);
        assert_eq!(first_difference(&ours, &ours), None);
        assert_eq!(first_difference(&ours, &lines(&["a", "x", "c"])), Some(1));
        assert_eq!(first_difference(&ours, &lines(&["a", "b"])), Some(2));
        assert_eq!(first_difference(&[], &ours), Some(0));
    }

    #[test]
    fn sections_partition_the_index() {
        let n_images = 2 * SECTION_LEN + 5;
        let covered: Vec<u64> = (0..3).flat_map(|section| range(section, n_images)).collect();
        assert!(covered.into_iter().eq(0..n_images));
        assert_eq!(range(3, n_images).count(), 0);
    }

    #[test]
    fn a_change_shows_in_its_own_section_only() {
        let before = digests(2 * SECTION_LEN, |idx| idx.to_string());
        let after =
            digests(2 * SECTION_LEN, |idx| if idx == SECTION_LEN { "x".into() } else { idx.to_string() });
        assert_eq!(before.len(), 2);
        assert_eq!(first_difference(&before, &after), Some(1));
    }
}
