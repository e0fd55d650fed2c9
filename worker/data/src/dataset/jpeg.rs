//! JPEG files, by zune-jpeg in its strict mode.

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
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no frame header")?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (colorspace, channels) = if is_grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(colorspace));
    let size = Size { width: info.width.into(), height: info.height.into(), channels }.check()?;
    // Zeroed, since the decoder may leave rows of an odd file as they are: a pixel never depends on the image before.
    decoded.clear();
    decoded.resize(size.width as usize * size.height as usize * channels as usize, 0);
    decoder.decode_into(decoded).map_err(|error| error.to_string())?;
    Ok(size)
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
