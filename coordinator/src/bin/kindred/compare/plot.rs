//! Curves over steps, as SVG or PNG.

use std::{collections::BTreeMap, fs, path::Path, sync::Once};

use kindred_proto::v1;
use plotters::{
    coord::Shift,
    prelude::{
        BitMapBackend, ChartBuilder, Color, DrawingArea, DrawingBackend, FontStyle, IntoDrawingArea,
        LineSeries, Palette, Palette99, PathElement, SVGBackend, SeriesLabelPosition, WHITE,
    },
    style::register_font,
};

use crate::exit::{Error, Exit};

/// Pixels of a picture, and of each chart in it.
const WIDTH: u32 = 960;
const CHART_HEIGHT: u32 = 400;

/// One series of several jobs.
pub struct Chart {
    /// The series.
    pub title: String,
    /// One curve per job that has points of it.
    pub curves: Vec<Curve>,
}

/// One series of one job.
pub struct Curve {
    label: String,
    /// Values by step: the newest generation's where several took it.
    points: BTreeMap<u64, f64>,
}

impl Curve {
    /// The points of `series`; none when there are none.
    pub fn of(label: String, series: &str, points: &[v1::MetricPoint]) -> Option<Self> {
        let mut own: Vec<_> =
            points.iter().filter(|point| point.series == series && point.value.is_finite()).collect();
        own.sort_by_key(|point| point.generation);
        let points: BTreeMap<_, _> = own.into_iter().map(|point| (point.step, point.value)).collect();
        (!points.is_empty()).then_some(Self { label, points })
    }
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines and text.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// That of a file's name.
    pub fn of(path: &Path) -> Result<Self, Error> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(Error::invalid(format!("--plot: {} must end in .svg or .png", path.display()))),
        }
    }
}

/// Draws the charts below one another into a file.
pub fn write(path: &Path, format: Format, charts: &[Chart]) -> Result<(), Error> {
    if charts.is_empty() {
        return Err(Error::new(Exit::Other, "--plot: none of the jobs has points of these series"));
    }
    let bytes = match format {
        Format::Svg => svg(charts).map(String::into_bytes),
        Format::Png => png(charts),
    };
    let failed = |why: String| Error::new(Exit::Other, format!("cannot draw {}: {why}", path.display()));
    fs::write(path, bytes.map_err(failed)?).map_err(|error| failed(error.to_string()))
}

fn svg(charts: &[Chart]) -> Result<String, String> {
    let mut text = String::new();
    draw(SVGBackend::with_string(&mut text, size(charts)).into_drawing_area(), charts)?;
    Ok(text)
}

fn png(charts: &[Chart]) -> Result<Vec<u8>, String> {
    let (width, height) = size(charts);
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    draw(BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area(), charts)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn size(charts: &[Chart]) -> (u32, u32) {
    (WIDTH, CHART_HEIGHT * charts.len() as u32)
}

fn draw<B: DrawingBackend>(area: DrawingArea<B, Shift>, charts: &[Chart]) -> Result<(), String> {
    register_fonts();
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    for (area, chart) in area.split_evenly((charts.len(), 1)).iter().zip(charts) {
        draw_chart(area, chart).map_err(|error| error.to_string())?;
    }
    area.present().map_err(|error| error.to_string())
}

fn draw_chart<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    chart: &Chart,
) -> Result<(), plotters::drawing::DrawingAreaErrorKind<B::ErrorType>> {
    let (steps, values) = ranges(chart);
    let mut drawing = ChartBuilder::on(area)
        .caption(&chart.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(steps, values)?;
    drawing.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
    for (idx, curve) in chart.curves.iter().enumerate() {
        let style = Palette99::pick(idx).stroke_width(2);
        let points = curve.points.iter().map(|(&step, &value)| (step as f64, value));
        let series = drawing.draw_series(LineSeries::new(points, style).point_size(2))?;
        series.label(&curve.label).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    drawing
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()
}

/// All steps and values, with some air where there is a single one.
fn ranges(chart: &Chart) -> (std::ops::Range<f64>, std::ops::Range<f64>) {
    let points = || chart.curves.iter().flat_map(|curve| &curve.points);
    let steps = range(points().map(|(&step, _)| step as f64), 0.0);
    (steps, range(points().map(|(_, &value)| value), 0.05))
}

/// From the least to the most, widened by a share of that on each side.
fn range(values: impl Iterator<Item = f64> + Clone, air: f64) -> std::ops::Range<f64> {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(f64::NEG_INFINITY, f64::max);
    let air = if most > least { air * (most - least) } else { 0.5 };
    least - air..most + air
}

/// The font travels with the program: machines that train have none.
fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let registered = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        assert!(registered.is_ok(), "the font is a good one: a test draws with it");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(series: &str, step: u64, generation: u64, value: f64) -> v1::MetricPoint {
        v1::MetricPoint { series: series.into(), step, generation, value, ..Default::default() }
    }

    fn charts() -> Vec<Chart> {
        let points: Vec<_> =
            (0..40).map(|step| point("loss", step, 1, 6.0 - (step as f64).sqrt() / 2.0)).collect();
        let curve =
            |label: &str, points: &[_]| Curve::of(label.into(), "loss", points).expect("it has points");
        let curves = vec![curve("job-1 sce", &points), curve("job-2 moco", &points[..3])];
        let single = vec![Curve::of("job-3".into(), "knn", &[point("knn", 5, 1, 80.0)]).expect("it has one")];
        vec![Chart { title: "loss".into(), curves }, Chart { title: "knn".into(), curves: single }]
    }

    #[test]
    fn a_step_that_was_taken_twice_counts_once() {
        let points = [point("loss", 2, 2, 0.5), point("loss", 2, 1, 0.7), point("lr", 3, 1, 9.0)];
        let curve = Curve::of("job".into(), "loss", &points).expect("it has points");
        assert_eq!(curve.points, BTreeMap::from([(2, 0.5)]));
        assert!(Curve::of("job".into(), "accuracy", &points).is_none());
        assert!(Curve::of("job".into(), "loss", &[point("loss", 1, 1, f64::NAN)]).is_none());
    }

    #[test]
    fn an_svg_names_series_jobs_and_axes() {
        let text = svg(&charts()).expect("it is drawn");
        for word in ["loss", "knn", "job-1 sce", "job-2 moco", "job-3", "step"] {
            assert!(text.contains(word), "{word} is missing");
        }
        assert!(text.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn a_png_holds_lines_and_letters() {
        let bytes = png(&charts()).expect("it is drawn");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("it is a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("it holds a picture");
        assert_eq!((info.width, info.height), (WIDTH, 2 * CHART_HEIGHT));
        let is_dark = |x: u32, y: u32| pixels[3 * (y * WIDTH + x) as usize] < 128;
        let n_dark = |xs: std::ops::Range<u32>, ys: std::ops::Range<u32>| {
            ys.flat_map(|y| xs.clone().map(move |x| (x, y))).filter(|&(x, y)| is_dark(x, y)).count()
        };
        let caption = n_dark(WIDTH / 2 - 60..WIDTH / 2 + 60, 8..36);
        assert!((20..1500).contains(&caption), "{caption} dark pixels where the word loss should be");
    }

    #[test]
    fn a_name_without_a_known_ending_is_refused() {
        assert_eq!(Format::of(Path::new("a/b.svg")).expect("known"), Format::Svg);
        let error = Format::of(Path::new("a/b.pdf")).expect_err("unknown");
        assert_eq!(error.to_string(), "--plot: a/b.pdf must end in .svg or .png");
    }
}
