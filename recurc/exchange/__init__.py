"""Exchange with other tools: ONNX export and a loop over onnxruntime, an oracle that shares no code with the C engine."""
