"""What a GPU makes of packshot: ``python -m benchmarks.gpu --output FILE``.

Full-size models with random weights are made on the spot, nothing is downloaded. Every section stands
alone: what fails becomes a row with its error, and the result is written anew after each row. TensorRT is
timed where it is installed.
``--device cpu --tiny`` runs the same code on small models in a minute or two.
"""
