//! JPEG files, by zune-jpeg in its strict mode.

use std::fmt::Display;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::decode::Size;

/// Longest side that the format can state.
const MAX_SIDE: usize = 65_535;

/// Decodes a JPEG file into grey or RGB bytes; CMYK and YCCK become RGB.
pub(super) fn decode(file: &[u8], decoded: &mut Vec<u8>) -> Result<Size, String> {
    require_end(file)?;
    let options =
        DecoderOptions::default().set_strict_mode(true).set_max_width(MAX_SIDE).set_max_height(MAX_SIDE);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(damage)?;
    let info = decoder.info().ok_or("no frame header")?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (colorspace, channels) = if is_grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(colorspace));
    let size = Size { width: info.width.into(), height: info.height.into(), channels }.check()?;
    // Zeroed, since the decoder may leave rows of an odd file as they are: a pixel never depends on the image before.
    decoded.clear();
    decoded.resize(size.width as usize * size.height as usize * channels as usize, 0);
    decoder.decode_into(decoded).map_err(damage)?;
    Ok(size)
}

fn damage(error: impl Display) -> String {
    format!("damaged JPEG file: {error}")
}

/// Refuses a file without an end marker: the decoder notices a missing end only before the last row of blocks.
fn require_end(file: &[u8]) -> Result<(), String> {
    if file.ends_with(&[0xff, 0xd9]) || has_end(file) {
        Ok(())
    } else {
        Err("truncated: no end of image".into())
    }
}

/// Walks the markers up to the end of the image; bytes may follow it.
fn has_end(file: &[u8]) -> bool {
    let mut rest = file;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[at + 1..];
        let Some(&marker) = rest.first() else { return false };
        match marker {
            0xd9 => return true,
            // Stuffed zero, fill byte, restart, start of image: nothing to skip.
            0x00 | 0x01 | 0xd0..=0xd8 => rest = &rest[1..],
            0xff => {}
            _ => {
                let Some(&[high, low]) = rest.get(1..3) else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(1 + length..).unwrap_or_default();
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Four coloured quarters, 48 x 32, written by Pillow 13 at quality 90 in every form that is common.
    const FILES: [(&str, &[u8]); 5] = [
        ("baseline", include_bytes!("../../tests/images/baseline.jpg")),
        ("progressive", include_bytes!("../../tests/images/progressive.jpg")),
        ("restart", include_bytes!("../../tests/images/restart.jpg")),
        ("cmyk", include_bytes!("../../tests/images/cmyk.jpg")),
        ("grey", include_bytes!("../../tests/images/grey.jpg")),
    ];
    const COLOURS: [[u8; 3]; 4] = [[200, 40, 40], [40, 180, 60], [50, 60, 200], [128, 128, 128]];
    const GREYS: [[u8; 1]; 4] = [[88], [124], [73], [128]];

    fn pixel(decoded: &[u8], (x, y): (usize, usize), channels: u32) -> &[u8] {
        &decoded[(y * 48 + x) * channels as usize..][..channels as usize]
    }

    #[test]
    fn every_common_form_decodes() {
        for (name, file) in FILES {
            let mut decoded = Vec::new();
            let size = decode(file, &mut decoded).expect(name);
            let channels = if name == "grey" { 1 } else { 3 };
            assert_eq!(size, Size { width: 48, height: 32, channels }, "{name}");
            for (quarter, at) in [(10, 7), (36, 7), (10, 24), (36, 24)].into_iter().enumerate() {
                let expected = if channels == 1 { &GREYS[quarter][..] } else { &COLOURS[quarter][..] };
                let found = pixel(&decoded, at, channels);
                let is_near =
                    found.iter().zip(expected).all(|(found, expected)| found.abs_diff(*expected) <= 4);
                assert!(is_near, "{name}, quarter {quarter}: {found:?} for {expected:?}");
            }
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        for (name, file) in FILES {
            for length in 0..file.len() {
                assert!(decode(&file[..length], &mut Vec::new()).is_err(), "{name} cut to {length} bytes");
            }
        }
    }

    #[test]
    fn the_end_of_an_embedded_thumbnail_is_not_the_end() {
        let (_, file) = FILES[0];
        let with_thumbnail = [&file[..2], &[0xff, 0xe1, 0, 6, 0, 0, 0xff, 0xd9], &file[2..]].concat();
        assert!(decode(&with_thumbnail, &mut Vec::new()).is_ok());
        assert!(decode(&with_thumbnail[..with_thumbnail.len() - 40], &mut Vec::new()).is_err());
    }

    #[test]
    fn bytes_after_the_end_do_no_harm() {
        for (name, file) in FILES {
            let (mut clean, mut padded) = (Vec::new(), Vec::new());
            decode(file, &mut clean).expect(name);
            decode(&[file, &[0; 100]].concat(), &mut padded).expect(name);
            assert_eq!(clean, padded, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_file_never_panics(which in 0..FILES.len(), at: prop::sample::Index, value: u8) {
            let mut file = FILES[which].1.to_vec();
            let at = at.index(file.len());
            file[at] = value;
            let _ = decode(&file, &mut Vec::new());
        }
    }
}
