"""From settings to an engine with its model loaded."""

from emogap.config import Writer
from emogap.generate.engines import Engine
from emogap.hub import describe, resolve
from emogap.lm.loading import check_causal


def open_engine(writer: Writer) -> Engine:
    """The engine that the settings name, its model loaded. Raises ``ModelError`` if it cannot be had."""
    if writer.engine == "server":
        from emogap.generate.server_engine import ServerEngine

        return ServerEngine(
            writer.model.name, concurrency=writer.batch_size, timeout=writer.timeout, attempts=writer.attempts
        )
    from emogap.generate.transformers_engine import TransformersEngine

    options = {"dtype": writer.dtype, "quantization": writer.quantization}
    if writer.engine == "vllm":
        from emogap.generate.vllm_engine import VllmEngine, check_installed

        check_installed()
        check_causal(describe(writer.model))
        return VllmEngine(resolve(writer.model), **options)
    check_causal(describe(writer.model))
    return TransformersEngine(resolve(writer.model), device=writer.device, batch_size=writer.batch_size, **options)
