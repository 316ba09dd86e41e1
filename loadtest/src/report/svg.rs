//! Small pictures as SVG text: lines, stacked areas, bars.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 12.0;

/// One line or area.
pub struct Series {
    /// For the legend.
    pub name: String,
    /// Any CSS colour.
    pub color: &'static str,
    /// Places from left to right.
    pub points: Vec<(f64, f64)>,
}

/// What the axes say.
pub struct Axes<'a> {
    /// Below.
    pub x: &'a str,
    /// At the left.
    pub y: &'a str,
}

struct Frame {
    most_x: f64,
    most_y: f64,
}

impl Frame {
    fn of(series: &[Series]) -> Self {
        let most = |value: fn(&(f64, f64)) -> f64| {
            series.iter().flat_map(|series| series.points.iter().map(value)).fold(0.0_f64, f64::max).max(1e-9)
        };
        Self { most_x: most(|point| point.0), most_y: round_up(most(|point| point.1)) }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.most_x * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.most_y * (HEIGHT - BOTTOM - TOP)
    }

    fn axes(&self, axes: &Axes<'_>) -> String {
        let mut svg = String::new();
        for part in 0..=4 {
            let value = self.most_y * f64::from(part) / 4.0;
            let y = self.y(value);
            let right = WIDTH - RIGHT;
            let _ = write!(
                svg,
                r#"<line x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}" class="grid"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 6.0,
                y + 4.0,
                number(value)
            );
        }
        for part in 0..=6 {
            let value = self.most_x * f64::from(part) / 6.0;
            let (x, y) = (self.x(value), HEIGHT - BOTTOM + 16.0);
            let _ = write!(svg, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{}</text>"#, number(value));
        }
        let (x, y) = (WIDTH - RIGHT, HEIGHT - 4.0);
        let _ = write!(
            svg,
            r#"<text x="{x}" y="{y}" text-anchor="end">{}</text><text x="4" y="10">{}</text>"#,
            axes.x, axes.y
        );
        svg
    }
}

/// 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= value * 0.999_999).unwrap_or(10.0);
    step * power
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.3} M", v / 1e6).replace(".000", ""),
        v if v >= 100.0 || v == v.trunc() => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

fn picture(body: &str, series: &[Series]) -> String {
    let legend: String = series
        .iter()
        .map(|series| format!(r#"<span><i style="background:{}"></i>{}</span>"#, series.color, series.name))
        .collect();
    format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{body}</svg><p class="legend">{legend}</p>"#)
}

/// Lines over each other.
pub fn lines(series: &[Series], axes: &Axes<'_>) -> String {
    let frame = Frame::of(series);
    let mut body = frame.axes(axes);
    for series in series {
        let points: Vec<String> =
            series.points.iter().map(|(x, y)| format!("{:.1},{:.1}", frame.x(*x), frame.y(*y))).collect();
        let _ = write!(body, r#"<polyline points="{}" fill="none" stroke="{}"/>"#, points.join(" "), series.color);
    }
    picture(&body, series)
}

/// Areas on each other; all series have the same x values.
pub fn stacked(mut series: Vec<Series>, axes: &Axes<'_>) -> String {
    let mut below: Vec<(f64, f64)> = Vec::new();
    let mut floors = Vec::with_capacity(series.len());
    for one in &mut series {
        below.resize(one.points.len(), (0.0, 0.0));
        let floor: Vec<(f64, f64)> = one.points.iter().zip(&below).map(|(point, floor)| (point.0, floor.1)).collect();
        for (point, floor) in one.points.iter_mut().zip(&mut below) {
            point.1 += floor.1;
            *floor = *point;
        }
        floors.push(floor);
    }
    let frame = Frame::of(&series);
    let mut body = frame.axes(axes);
    for (one, floor) in series.iter().zip(&floors) {
        let outline = one.points.iter().chain(floor.iter().rev());
        let points: Vec<String> = outline.map(|(x, y)| format!("{:.1},{:.1}", frame.x(*x), frame.y(*y))).collect();
        let _ = write!(body, r#"<polygon points="{}" fill="{}"/>"#, points.join(" "), one.color);
    }
    picture(&body, &series)
}

/// Bars with a name below every one.
pub fn bars(bars: &[(String, u64)], axes: &Axes<'_>) -> String {
    let most = bars.iter().map(|bar| bar.1).max().unwrap_or(0).max(1);
    let frame = Frame { most_x: bars.len().max(1) as f64, most_y: round_up(most as f64) };
    let mut body = String::new();
    let bottom = frame.y(0.0);
    for (at, (name, count)) in bars.iter().enumerate() {
        let (x, y) = (frame.x(at as f64), frame.y(*count as f64));
        let width = (frame.x(1.0) - LEFT - 2.0).max(1.0);
        let _ = write!(
            body,
            r##"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="#4878a8"><title>{name}: {count}</title></rect><text x="{:.1}" y="{:.1}" text-anchor="middle">{name}</text>"##,
            bottom - y,
            x + width / 2.0,
            bottom + 14.0
        );
    }
    let _ = write!(
        body,
        r#"<text x="{}" y="{}" text-anchor="end">{}</text><text x="4" y="10">{} (highest bar {most})</text>"#,
        WIDTH - RIGHT,
        HEIGHT - 4.0,
        axes.x,
        axes.y
    );
    picture(&body, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (value, expected) in [(0.9, 1.0), (1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (70.0, 100.0), (1234.0, 2000.0)] {
            assert!((round_up(value) - expected).abs() < 1e-9, "{value}: {}", round_up(value));
        }
    }

    #[test]
    fn areas_stand_on_each_other() {
        let series = |points: &[f64]| Series {
            name: "x".into(),
            color: "red",
            points: points.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect(),
        };
        let svg = stacked(vec![series(&[1.0, 1.0]), series(&[1.0, 0.0])], &Axes { x: "", y: "" });
        // The second area starts at the top of the picture (1 + 1 of 2) and falls to the first one's height.
        assert!(svg.contains(&format!("{LEFT:.1},{TOP:.1}")), "{svg}");
    }
}
