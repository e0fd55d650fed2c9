//! JPEG files by libjpeg-turbo, with the feature `turbojpeg`: written in C and assembler, and faster on files of high quality.
//!
//! What it does not turn into RGB (CMYK and YCCK) is left to zune-jpeg. Its pixels differ from those of zune-jpeg in rounding,
//! so all ranks of a job need the same choice.

use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

use super::decode::Size;

/// A decoder that is kept between files; made when the first one is decoded, and anew after a damaged one.
#[derive(Debug, Default)]
pub(super) struct Turbo(Option<Decompressor>);

impl Turbo {
    /// Decodes a file into grey or RGB bytes; `None` for colours that it does not know.
    pub(super) fn decode(&mut self, file: &[u8], decoded: &mut Vec<u8>) -> Result<Option<Size>, String> {
        let result = self.decode_by_kept(file, decoded);
        if result.is_err() {
            // After a fault inside a header libjpeg-turbo takes the next file for what follows, and refuses it too.
            self.0 = None;
        }
        result
    }

    fn decode_by_kept(&mut self, file: &[u8], decoded: &mut Vec<u8>) -> Result<Option<Size>, String> {
        let decoder = match &mut self.0 {
            Some(decoder) => decoder,
            none => none.insert(Decompressor::new().map_err(damage)?),
        };
        let header = decoder.read_header(file).map_err(damage)?;
        let (format, channels) = match header.colorspace {
            Colorspace::Gray => (PixelFormat::GRAY, 1),
            Colorspace::YCbCr | Colorspace::RGB => (PixelFormat::RGB, 3),
            _ => return Ok(None),
        };
        let side = |pixels: usize| u32::try_from(pixels).map_err(|_| "too large".to_owned());
        let size = Size { width: side(header.width)?, height: side(header.height)?, channels }.check()?;
        decoded.clear();
        decoded.resize(header.width * header.height * channels as usize, 0);
        let image = Image {
            pixels: &mut decoded[..],
            width: header.width,
            pitch: header.width * channels as usize,
            height: header.height,
            format,
        };
        decoder.decompress(file, image).map_err(damage)?;
        Ok(Some(size))
    }
}

fn damage(error: turbojpeg::Error) -> String {
    format!("damaged JPEG file: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::jpeg;

    const FILES: [(&str, &[u8]); 4] = [
        ("baseline", include_bytes!("../../tests/images/baseline.jpg")),
        ("progressive", include_bytes!("../../tests/images/progressive.jpg")),
        ("restart", include_bytes!("../../tests/images/restart.jpg")),
        ("grey", include_bytes!("../../tests/images/grey.jpg")),
    ];

    #[test]
    fn pixels_are_those_of_the_decoder_in_rust_but_for_rounding() {
        let (mut turbo, mut found, mut expected) = (Turbo::default(), Vec::new(), Vec::new());
        for (name, file) in FILES {
            let size = jpeg::decode(file, &mut expected).expect(name);
            assert_eq!(turbo.decode(file, &mut found), Ok(Some(size)), "{name}");
            let far = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far <= Some(4), "{name}: {far:?}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_and_the_next_one_is_not() {
        let mut turbo = Turbo::default();
        for (name, file) in FILES {
            for length in (0..file.len()).step_by(7) {
                assert!(turbo.decode(&file[..length], &mut Vec::new()).is_err(), "{name} cut to {length}");
                let next = turbo.decode(file, &mut Vec::new());
                assert!(matches!(next, Ok(Some(_))), "{name} after it was cut to {length}: {next:?}");
            }
        }
    }

    #[test]
    fn four_colours_are_left_to_the_other_decoder() {
        let file = include_bytes!("../../tests/images/cmyk.jpg");
        assert_eq!(Turbo::default().decode(file, &mut Vec::new()), Ok(None));
    }
}
