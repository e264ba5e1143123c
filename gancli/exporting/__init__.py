"""Export of a model folder to one file that other programs run: ONNX, TorchScript or safetensors."""
