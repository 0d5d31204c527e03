"""A run of digits that is small in everything, as flags of `mec_tf.train`."""

SMALL = (
    "--dataset=digits",
    "--views=digits",
    "--image_size=8",
    "--backbone=resnet_tiny",
    "--projector_dim=32",
    "--projector_layers=2",
    "--predictor_dim=16",
    "--ema_base=0.9",
    "--batch_size=256",
    "--warmup_epochs=1",
    "--lambda_warmup_epochs=1",
)
