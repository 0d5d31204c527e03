"""Encoders on disk: SavedModel, Keras, ONNX, torchvision, Detectron2."""
