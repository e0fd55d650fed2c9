//! Decoding of image files into rows of grey or RGB bytes.
//!
//! What a file is, its first bytes say: many a PNG is called .jpg. EXIF is ignored, orientation included, as torchvision
//! does. Alpha is dropped and 16-bit values keep their high byte, as Pillow's `convert("RGB")` does.

use std::fmt::Display;
use std::io::Cursor;

use png::{ColorType, Decoder, Limits, Transformations};

use super::{DecodeScratch, Pixels, jpeg};

/// Most pixels of an image: more is an attack or an accident.
pub(super) const MAX_PIXELS: u64 = 1 << 27;

/// Decodes the file in `scratch` into an image of 1 or 3 `channels`.
///
/// # Errors
/// What is wrong with the file. Damage is an error wherever it is seen, also where decoders only warn.
pub(super) fn decode(scratch: &mut DecodeScratch, channels: u32) -> Result<Pixels<'_>, String> {
    let size = match scratch.file[..] {
        [0xff, 0xd8, 0xff, ..] => decode_jpeg(scratch)?,
        [0x89, b'P', b'N', b'G', ..] => decode_png(&scratch.file, &mut scratch.decoded)?,
        _ => return Err("neither a JPEG nor a PNG file".into()),
    };
    let DecodeScratch { decoded, pixels, .. } = scratch;
    let bytes = convert(decoded, size.channels, channels, pixels);
    Ok(Pixels { width: size.width, height: size.height, channels, bytes })
}

fn decode_jpeg(scratch: &mut DecodeScratch) -> Result<Size, String> {
    #[cfg(feature = "turbojpeg")]
    if let Some(size) = scratch.turbo.decode(&scratch.file, &mut scratch.decoded)? {
        return Ok(size);
    }
    jpeg::decode(&scratch.file, &mut scratch.decoded)
}

/// The shape of what was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    pub(super) channels: u32,
}

impl Size {
    /// Refuses what has no pixels, or too many.
    pub(super) fn check(self) -> Result<Size, String> {
        let n_pixels = u64::from(self.width) * u64::from(self.height);
        if n_pixels == 0 || n_pixels > MAX_PIXELS {
            return Err(format!("{}x{} pixels are not between 1 and {MAX_PIXELS}", self.width, self.height));
        }
        Ok(self)
    }
}

fn decode_png(file: &[u8], decoded: &mut Vec<u8>) -> Result<Size, String> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: MAX_PIXELS as usize * 8 });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(damage)?;
    let (color, _) = reader.output_color_type();
    let info = reader.info();
    let size = Size { width: info.width, height: info.height, channels: n_channels(color)? }.check()?;
    let n_bytes = reader.output_buffer_size().ok_or("too large")?;
    decoded.clear();
    decoded.resize(n_bytes, 0);
    reader.next_frame(decoded).map_err(damage)?;
    Ok(size)
}

fn damage(error: impl Display) -> String {
    format!("damaged PNG file: {error}")
}

fn n_channels(color: ColorType) -> Result<u32, String> {
    match color {
        ColorType::Grayscale => Ok(1),
        ColorType::GrayscaleAlpha => Ok(2),
        ColorType::Rgb => Ok(3),
        ColorType::Rgba => Ok(4),
        ColorType::Indexed => Err("a palette that does not expand".into()),
    }
}

/// Brings pixels of `from` channels to `to` channels: without copying where they are the same.
fn convert<'a>(decoded: &'a [u8], from: u32, to: u32, pixels: &'a mut Vec<u8>) -> &'a [u8] {
    let samples = decoded.chunks_exact(from as usize);
    pixels.clear();
    match (from, to) {
        (1, 1) | (3, 3) => return decoded,
        (2, 1) => pixels.extend(samples.map(|sample| sample[0])),
        (1 | 2, _) => pixels.extend(samples.flat_map(|sample| [sample[0]; 3])),
        (_, 1) => pixels.extend(samples.map(luma)),
        (_, _) => pixels.extend(samples.flat_map(|sample| [sample[0], sample[1], sample[2]])),
    }
    pixels
}

/// ITU-R 601 luma in Pillow's fixed point.
pub(crate) fn luma(sample: &[u8]) -> u8 {
    let weighted = [19595, 38470, 7471].iter().zip(sample).map(|(weight, &value)| weight * u32::from(value));
    ((weighted.sum::<u32>() + (1 << 15)) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn png(size: (u32, u32), (color, depth): (ColorType, png::BitDepth), data: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, size.0, size.1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(vec![255, 0, 0, 0, 0, 255]);
        }
        let mut writer = encoder.write_header().expect("writes to memory");
        writer.write_image_data(data).expect("data fit the header");
        writer.finish().expect("writes to memory");
        file
    }

    fn decoded(file: &[u8], channels: u32) -> Result<(u32, u32, Vec<u8>), String> {
        let mut scratch = DecodeScratch { file: file.to_vec(), ..DecodeScratch::default() };
        decode(&mut scratch, channels).map(|pixels| (pixels.width, pixels.height, pixels.bytes.to_vec()))
    }

    #[test]
    fn every_kind_of_png_becomes_rgb() {
        use png::BitDepth::{Eight, One, Sixteen};
        let cases = [
            (png((2, 1), (ColorType::Rgb, Eight), &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]),
            (png((2, 1), (ColorType::Rgba, Eight), &[1, 2, 3, 0, 4, 5, 6, 255]), [1, 2, 3, 4, 5, 6]),
            (png((2, 1), (ColorType::Grayscale, Eight), &[7, 9]), [7, 7, 7, 9, 9, 9]),
            (png((2, 1), (ColorType::GrayscaleAlpha, Eight), &[7, 0, 9, 1]), [7, 7, 7, 9, 9, 9]),
            (png((2, 1), (ColorType::Grayscale, Sixteen), &[7, 200, 9, 1]), [7, 7, 7, 9, 9, 9]),
            (png((2, 1), (ColorType::Grayscale, One), &[0b0100_0000]), [0, 0, 0, 255, 255, 255]),
            (png((2, 1), (ColorType::Indexed, One), &[0b0100_0000]), [255, 0, 0, 0, 0, 255]),
        ];
        for (file, expected) in cases {
            assert_eq!(decoded(&file, 3), Ok((2, 1, expected.to_vec())));
        }
    }

    #[test]
    fn colours_become_grey_by_their_luma() {
        let file =
            png((4, 1), (ColorType::Rgb, png::BitDepth::Eight), &[255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]);
        assert_eq!(decoded(&file, 1), Ok((4, 1, vec![76, 150, 29, 9])));
    }

    #[test]
    fn a_truncated_or_altered_png_is_an_error() {
        let data: Vec<u8> = (0..32 * 32).map(|idx| (idx * 37 % 251) as u8).collect();
        let file = png((32, 32), (ColorType::Grayscale, png::BitDepth::Eight), &data);
        let idat_end = file.len() - 12;
        for length in 0..idat_end - 4 {
            assert!(decoded(&file[..length], 1).is_err(), "the first {length} of {} bytes", file.len());
        }
        let mut altered = file.clone();
        altered[idat_end - 30] ^= 1;
        assert!(decoded(&altered, 1).is_err());
    }

    #[test]
    fn what_is_no_image_says_so() {
        assert_eq!(decoded(b"", 3), Err("neither a JPEG nor a PNG file".into()));
        assert_eq!(decoded(b"GIF89a", 3), Err("neither a JPEG nor a PNG file".into()));
    }

    #[test]
    fn a_huge_png_is_refused_before_its_pixels_are_read() {
        let mut file = png((1, 1), (ColorType::Grayscale, png::BitDepth::Eight), &[0]);
        file[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let crc = crc32(&file[12..29]);
        file[29..33].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(decoded(&file, 1), Err("65536x65536 pixels are not between 1 and 134217728".into()));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, magic in prop::sample::select(vec![
            &b"\xff\xd8\xff"[..], &b"\x89PNG\r\n\x1a\n"[..], &b""[..],
        ])) {
            bytes.splice(0..0, magic.iter().copied());
            let _ = decoded(&bytes, 3);
        }

        #[test]
        fn a_damaged_png_never_panics(at in 0usize..200, value: u8) {
            let mut file = png((8, 8), (ColorType::Rgb, png::BitDepth::Eight), &[77; 192]);
            let at = at % file.len();
            file[at] = value;
            let _ = decoded(&file, 1);
        }
    }
}
