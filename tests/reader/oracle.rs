//! Comparison with a protobuf library, for random events in all encodings used by writers.

use std::collections::HashMap;

use nextrun::tfevents::{Datum, Event, Session, Tail, Templates, What, encode};
use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct PbEvent {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "PbWhat", tags = "3, 4, 5, 7")]
    what: Option<PbWhat>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum PbWhat {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(bytes, tag = "4")]
    GraphDef(Vec<u8>),
    #[prost(message, tag = "5")]
    Summary(PbSummary),
    #[prost(message, tag = "7")]
    SessionLog(PbSessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct PbSessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(string, tag = "2")]
    checkpoint_path: String,
}

#[derive(Clone, PartialEq, Message)]
struct PbSummary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<PbValue>,
}

#[derive(Clone, PartialEq, Message)]
struct PbValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(string, tag = "7")]
    node_name: String,
    #[prost(message, optional, tag = "9")]
    metadata: Option<PbMetadata>,
    #[prost(oneof = "PbDatum", tags = "2, 4, 5, 8")]
    datum: Option<PbDatum>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum PbDatum {
    #[prost(float, tag = "2")]
    Simple(f32),
    #[prost(bytes, tag = "4")]
    Image(Vec<u8>),
    #[prost(message, tag = "5")]
    Histogram(PbHistogram),
    #[prost(message, tag = "8")]
    Tensor(PbTensor),
}

#[derive(Clone, PartialEq, Message)]
struct PbMetadata {
    #[prost(message, optional, tag = "1")]
    plugin: Option<PbPlugin>,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(int32, tag = "4")]
    data_class: i32,
}

#[derive(Clone, PartialEq, Message)]
struct PbPlugin {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes, tag = "2")]
    content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PbHistogram {
    #[prost(double, tag = "1")]
    min: f64,
    #[prost(double, tag = "2")]
    max: f64,
    #[prost(double, tag = "3")]
    num: f64,
    #[prost(double, tag = "4")]
    sum: f64,
    #[prost(double, tag = "5")]
    sum_squares: f64,
    #[prost(double, repeated, tag = "6")]
    bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    bucket: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct PbTensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<PbShape>,
    #[prost(bytes, tag = "4")]
    content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
    #[prost(double, repeated, packed = "false", tag = "6")]
    double_val: Vec<f64>,
    #[prost(int32, repeated, tag = "7")]
    int_val: Vec<i32>,
    #[prost(bytes, repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "10")]
    int64_val: Vec<i64>,
    #[prost(int32, repeated, tag = "13")]
    half_val: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct PbShape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<PbDim>,
}

#[derive(Clone, PartialEq, Message)]
struct PbDim {
    #[prost(int64, tag = "1")]
    size: i64,
}

/// What was read of one value, in a form that can be compared: NaN is equal to NaN.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Scalar(u64),
    Moments([u64; 5]),
    Text(String),
    Other,
}

/// A number in one of its encodings, and what must be read.
fn scalar() -> impl Strategy<Value = (PbDatum, Seen)> {
    let exact = |value: f64| Seen::Scalar(bits(value));
    let shape = prop_oneof![
        Just(None),
        Just(Some(PbShape { dim: vec![] })),
        Just(Some(PbShape { dim: vec![PbDim { size: 1 }] })),
        Just(Some(PbShape { dim: vec![PbDim { size: 1 }, PbDim { size: 1 }] })),
    ];
    (any::<f32>(), any::<f64>(), any::<i64>(), 0_u8..11, shape).prop_map(move |(single, double, int, kind, shape)| {
        let tensor = |dtype| PbTensor { dtype, shape: shape.clone(), ..PbTensor::default() };
        let small = (int % 1000) as i32;
        let bfloat = (single.to_bits() >> 16) as u16;
        let (tensor, seen) = match kind {
            0 | 1 => return (PbDatum::Simple(single), exact(single.into())),
            2 => (PbTensor { float_val: vec![single], ..tensor(1) }, exact(single.into())),
            3 => (PbTensor { content: single.to_le_bytes().into(), ..tensor(1) }, exact(single.into())),
            4 => (PbTensor { double_val: vec![double], ..tensor(2) }, exact(double)),
            5 => (PbTensor { content: double.to_le_bytes().into(), ..tensor(2) }, exact(double)),
            6 => (PbTensor { int_val: vec![small], ..tensor(3) }, exact(small.into())),
            7 => (PbTensor { int64_val: vec![int], ..tensor(9) }, exact(int as f64)),
            8 => (PbTensor { content: (small as i16).to_le_bytes().into(), ..tensor(5) }, exact((small as i16).into())),
            9 => (
                PbTensor { half_val: vec![i32::from(bfloat)], ..tensor(14) },
                exact(f32::from_bits(u32::from(bfloat) << 16).into()),
            ),
            _ => (PbTensor { content: 0x3e00_u16.to_le_bytes().into(), ..tensor(19) }, exact(1.5)),
        };
        (PbDatum::Tensor(tensor), seen)
    })
}

fn datum() -> impl Strategy<Value = (PbDatum, Seen)> {
    let histogram = proptest::array::uniform5(any::<f64>()).prop_map(|[min, max, num, sum, sum_squares]| {
        let bucket = vec![1.0, 2.0];
        let message = PbHistogram { min, max, num, sum, sum_squares, bucket_limit: bucket.clone(), bucket };
        (PbDatum::Histogram(message), Seen::Moments([min, max, num, sum, sum_squares].map(bits)))
    });
    let text = ".{0,30}".prop_map(|text| {
        let tensor = PbTensor { dtype: 7, string_val: vec![text.clone().into_bytes()], ..PbTensor::default() };
        (PbDatum::Tensor(tensor), Seen::Text(text))
    });
    let many = Just((
        PbDatum::Tensor(PbTensor {
            dtype: 1,
            shape: Some(PbShape { dim: vec![PbDim { size: 2 }] }),
            float_val: vec![1.0, 2.0],
            ..PbTensor::default()
        }),
        Seen::Other,
    ));
    let image = proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| (PbDatum::Image(bytes), Seen::Other));
    prop_oneof![6 => scalar(), 2 => histogram, 1 => text, 1 => many, 1 => image]
}

fn value() -> impl Strategy<Value = (PbValue, (String, Seen))> {
    let metadata = prop_oneof![
        3 => Just(None),
        1 => Just(Some(PbMetadata { description: "of it".into(), data_class: 1, ..PbMetadata::default() })),
        1 => Just(Some(PbMetadata {
            plugin: Some(PbPlugin { name: String::new(), content: vec![1, 2] }),
            ..PbMetadata::default()
        })),
    ];
    ("[a-d/]{1,3}", any::<bool>(), metadata, datum()).prop_map(|(tag, by_node, metadata, (datum, seen))| {
        let (own, node_name) = if by_node { (String::new(), tag.clone()) } else { (tag.clone(), String::new()) };
        (PbValue { tag: own, node_name, metadata, datum: Some(datum) }, (tag, seen))
    })
}

/// A number that can be compared; the library writes no negative zero.
fn bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

fn seen(datum: &Datum<'_>) -> Seen {
    match datum {
        Datum::Scalar(value) => Seen::Scalar(bits(*value)),
        Datum::Histogram(m) => Seen::Moments([m.min, m.max, m.num, m.sum, m.sum_squares].map(bits)),
        Datum::Text(text) => Seen::Text(text.to_string()),
        Datum::Hparams(_) | Datum::Other => Seen::Other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn values_are_those_of_a_protobuf_library(
        wall_time in any::<f64>(),
        step in any::<i64>(),
        values in proptest::collection::vec(value(), 0..4),
    ) {
        let (messages, expected): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        let what = Some(PbWhat::Summary(PbSummary { value: messages }));
        let bytes = PbEvent { wall_time, step, what }.encode_to_vec();
        let event = Event::parse(&bytes).expect("it is an event");
        prop_assert_eq!((bits(event.wall_time), event.step), (bits(wall_time), step));
        let What::Summary(summary) = event.what else { panic!("it is a summary") };
        let read: Vec<_> = summary.values().map(|value| value.expect("it is a value")).collect();
        let read: Vec<_> = read.iter().map(|value| (value.tag.to_string(), seen(&value.datum))).collect();
        prop_assert_eq!(read, expected);
    }

    /// What is recognised by comparison is what decoding gives, whatever was learned before.
    #[test]
    fn templates_agree_with_decoding(
        events in proptest::collection::vec((any::<f64>(), any::<i64>(), proptest::collection::vec(value(), 1..3)), 1..40),
    ) {
        let mut templates = Templates::default();
        let mut slots: HashMap<String, u32> = HashMap::new();
        for (wall_time, step, values) in events {
            let messages: Vec<PbValue> = values.into_iter().map(|(message, _)| message).collect();
            let what = Some(PbWhat::Summary(PbSummary { value: messages }));
            let bytes = PbEvent { wall_time, step, what }.encode_to_vec();
            let event = Event::parse(&bytes).expect("it is an event");
            let What::Summary(summary) = event.what else { panic!("it is a summary") };
            let read: Vec<_> = summary.values().map(|value| value.expect("it is a value")).collect();
            if let Some(hit) = templates.recognise(&bytes) {
                prop_assert_eq!(read.len(), 1);
                prop_assert_eq!(seen(&read[0].datum), Seen::Scalar(bits(hit.value)));
                prop_assert_eq!(slots.get(&*read[0].tag), Some(&hit.slot));
                prop_assert_eq!((bits(hit.wall_time), hit.step), (bits(wall_time), step));
            }
            for value in read.iter().filter(|value| matches!(value.datum, Datum::Scalar(_))) {
                let next = slots.len() as u32;
                templates.learn(&bytes, *slots.entry(value.tag.to_string()).or_insert(next));
            }
        }
    }

    /// Whatever is no event: no panic, and only what a protobuf library would refuse is refused.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let ours = Event::parse(&bytes).ok();
        let values = ours.iter().filter_map(|event| match event.what {
            What::Summary(summary) => Some(summary.values().filter_map(Result::ok).count()),
            _ => None,
        });
        prop_assert!(values.sum::<usize>() <= bytes.len());
        let mut records = 0;
        Tail::default().advance(&bytes, |_| records += 1);
        prop_assert!(records * 16 <= bytes.len());
    }

    /// Events with flipped bits: what a protobuf library reads, we read.
    #[test]
    fn what_a_protobuf_library_reads_is_read(
        values in proptest::collection::vec(value(), 0..3),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let what = Some(PbWhat::Summary(PbSummary { value: values.into_iter().map(|(value, _)| value).collect() }));
        let mut bytes = PbEvent { wall_time: 1.0, step: 1, what }.encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(event) = PbEvent::decode(&bytes[..]) {
            let ours = Event::parse(&bytes).expect("prost reads it");
            prop_assert_eq!((ours.wall_time.to_bits(), ours.step), (event.wall_time.to_bits(), event.step));
        }
    }
}

#[test]
fn session_marks_are_read() {
    for (status, expected) in [(1, Session::Start), (2, Session::Stop), (3, Session::Other)] {
        let log = PbSessionLog { status, checkpoint_path: "ckpt".into() };
        let bytes = PbEvent { wall_time: 1.0, step: 5, what: Some(PbWhat::SessionLog(log)) }.encode_to_vec();
        let event = Event::parse(&bytes).expect("it is an event");
        assert!(matches!(event.what, What::Session(session) if session == expected), "{event:?}");
    }
}

#[test]
fn the_encoder_of_tests_writes_what_a_protobuf_library_reads() {
    let record = encode::tensor_histogram(2.0, -7, "h", &[[0.0, 1.0, 5.0], [1.0, 3.0, 0.0]]);
    let event = PbEvent::decode(&record[12..record.len() - 4]).expect("it is an event");
    assert_eq!((event.wall_time, event.step), (2.0, -7));
    let Some(PbWhat::Summary(summary)) = event.what else { panic!("it is a summary") };
    let Some(PbDatum::Tensor(tensor)) = &summary.value[0].datum else { panic!("it is a tensor") };
    assert_eq!(tensor.content.len(), 48);
}
