"""Run by optimize.py in the references' own Python: makes a smaller model with one of them, or measures one in this fresh process.

    python optimize_references.py make KIND MODEL SAMPLES OUTPUT     one of KINDS
    python optimize_references.py measure MODEL SAMPLES ANSWERS      the engine's defaults (all cores), then one thread; answers as .npy
    python optimize_references.py turns SAMPLES MODEL…               all in one process, by one thread, run by run in turns: what each takes
Prints one line of JSON.
"""
import json
import os
import sys
import tempfile
import time

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np  # noqa: E402

CALIBRATION = 8  # samples


def rows_of(samples):
    arrays = {name: array for name, array in np.load(samples).items() if name != "label"}
    return [{name: array[i:i + 1] for name, array in arrays.items()} for i in range(len(next(iter(arrays.values()))))]


def dynamic(model, samples, output):
    from onnxruntime.quantization import quantize_dynamic
    quantize_dynamic(model, output, per_channel=True)


def static(model, samples, output):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Rows(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(rows_of(samples)[:CALIBRATION])

        def get_next(self):
            return next(self.rows, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = os.path.join(folder, "prepared.onnx")
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, output, Rows(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8)


def fp16(model, samples, output):
    import onnx
    from onnxconverter_common import float16
    onnx.save(float16.convert_float_to_float16(onnx.load(model), keep_io_types=True), output)


def nncf(model, samples, output):
    import nncf as library
    import onnx
    rows = rows_of(samples)[:CALIBRATION]
    options = {"model_type": library.ModelType.TRANSFORMER} if "input_ids" in rows[0] or os.path.basename(model).startswith("vit") else {}
    onnx.save(library.quantize(onnx.load(model), library.Dataset(rows), subset_size=len(rows), **options), output)


def neural_compressor(model, samples, output):
    from onnx_neural_compressor.quantization import config, quantize
    import onnx
    with tempfile.TemporaryDirectory() as folder:  # it writes the weights beside the model
        quantize(model, os.path.join(folder, "made.onnx"), config.DynamicQuantConfig(per_channel=True))
        onnx.save(onnx.load(os.path.join(folder, "made.onnx")), output)


KINDS = {"neural-compressor": neural_compressor, "dynamic": dynamic, "static": static, "fp16": fp16, "nncf": nncf}


def by_one_thread(model):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure(model, samples, answers):
    import onnxruntime
    rows = rows_of(samples)
    onnxruntime.set_default_logger_severity(4)
    begun = time.perf_counter()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter()
    session.run(None, rows[0])
    first = time.perf_counter()
    del session
    session = by_one_thread(model)
    outputs, times = [], []
    for row in rows:
        start = time.perf_counter()
        outputs.append(session.run(None, row)[0])
        times.append(time.perf_counter() - start)
    if answers != "-":
        np.save(answers, np.concatenate(outputs))
    return {"load_ms": (loaded - begun) * 1e3, "first_ms": (first - begun) * 1e3, "p50_ms": float(np.median(times)) * 1e3}


def turns(samples, *models, seconds=20):
    import onnxruntime
    onnxruntime.set_default_logger_severity(4)
    sessions = [by_one_thread(model) for model in models]
    rows, times = rows_of(samples), [[] for _ in models]
    end = time.perf_counter() + seconds
    while len(times[0]) < 2 * len(rows) or (time.perf_counter() < end and len(times[0]) < 100 * len(rows)):
        row = rows[len(times[0]) % len(rows)]
        for session, taken in zip(sessions, times):
            start = time.perf_counter()
            session.run(None, row)
            taken.append(time.perf_counter() - start)
    return [{"p10_ms": float(np.percentile(taken, 10)) * 1e3, "p50_ms": float(np.median(taken)) * 1e3} for taken in times]


def main():
    if sys.argv[1] == "turns":
        print(json.dumps(turns(*sys.argv[2:])))
        return
    if sys.argv[1] == "measure":
        print(json.dumps(measure(*sys.argv[2:])))
        return
    kind, model, samples, output = sys.argv[2:]
    begun = time.perf_counter()
    KINDS[kind](model, samples, output + ".part")
    os.replace(output + ".part", output)
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
