"""From settings to an engine with its model loaded."""

from pathlib import Path

from emogap.config import Writer
from emogap.device import check_device
from emogap.errors import ModelError
from emogap.lm.engines.engine import Engine
from emogap.lm.hub import describe, is_adapter, resolve
from emogap.lm.loading import check_causal
from emogap.paths import from_root


def open_engine(writer: Writer) -> Engine:
    """The engine that the settings name, its model loaded. Raises ``ModelError`` if it is not available."""
    if writer.engine == "server":
        from emogap.lm.engines.server_engine import ServerEngine

        return ServerEngine(
            writer.model.name, concurrency=writer.batch_size, timeout=writer.timeout, attempts=writer.attempts
        )
    from emogap.lm.engines.transformers_engine import TransformersEngine

    if writer.engine == "vllm":
        from emogap.lm.engines.vllm_engine import VllmEngine, check_installed

        _refuse_adapter(writer, from_root(writer.model.name))
        check_installed(writer)
        _refuse_adapter(writer, describe(writer.model))
        check_causal(describe(writer.model))
        return VllmEngine(resolve(writer.model), writer)
    check_device(writer.device, "writer.device")
    check_causal(describe(writer.model))
    return TransformersEngine(
        resolve(writer.model),
        device=writer.device,
        batch_size=writer.batch_size,
        dtype=writer.dtype,
        quantization=writer.quantization,
    )


def _refuse_adapter(writer: Writer, folder: Path) -> None:
    if is_adapter(folder):
        raise ModelError(
            f"writer.model {writer.model.name} is an adapter, which writer.engine=vllm does not load; merge it into "
            "the whole model, or use writer.engine=transformers"
        )
