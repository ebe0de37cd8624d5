package org.eellm.cli.convert;

import java.util.Optional;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.convert.GgufWriter;
import org.eellm.convert.GgufWriter.Quantization;
import org.eellm.convert.ModelReader;
import org.eellm.convert.ModelWriter;
import org.eellm.convert.ModelWriter.Listener;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm export}: a model for other tools. */
@Command(
    name = "export",
    description =
        "Writes a model for other tools: a Hugging Face folder, or a GGUF file for llama.cpp. Exits"
            + " lie beside the trunk, in files that transformers or eellm alone reads.")
public final class ExportCommand extends EellmCommand {

  /** The tools' formats. */
  enum Format {
    HF,
    GGUF
  }

  /** Number formats of both. */
  enum Type {
    FLOAT32,
    BFLOAT16,
    FLOAT16,
    Q8_0
  }

  @Mixin private WriteOptions options;
  @Mixin private JsonOption json;

  @Option(
      names = "--format",
      required = true,
      paramLabel = "FORMAT",
      description = "hf: a Hugging Face folder; gguf: a file for llama.cpp.")
  private Format format;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description =
          "hf: float32, bfloat16 or float16, as the weights are by default. gguf: float32, bfloat16"
              + " or q8_0; float32 by default, bfloat16 if the model computes in it.")
  private Optional<Type> type = Optional.empty();

  @Override
  public Integer call() {
    try (SourceModel model = ModelReader.open(options.model())) {
      Listener listener = options.listener(System.err);
      Outcome outcome =
          switch (format) {
            case HF ->
                ModelWriter.writeHuggingFace(
                    model,
                    options.output(),
                    new Options(type.map(ExportCommand::stored), options.tokenizer()),
                    listener);
            case GGUF ->
                GgufWriter.write(
                    model,
                    options.output(),
                    type.map(ExportCommand::quantization).orElse(usual(model)),
                    new Options(Optional.empty(), options.tokenizer()),
                    listener);
          };
      options.report(outcome, json, out(), err());
      return ExitCode.OK;
    }
  }

  private static SafetensorsType stored(Type type) {
    return switch (type) {
      case FLOAT32 -> SafetensorsType.F32;
      case BFLOAT16 -> SafetensorsType.BF16;
      case FLOAT16 -> SafetensorsType.F16;
      case Q8_0 ->
          throw new ConfigException(
              "--dtype: q8_0 is a format of gguf; use float32, bfloat16 or float16 with hf");
    };
  }

  private static Quantization quantization(Type type) {
    return switch (type) {
      case FLOAT32 -> Quantization.F32;
      case BFLOAT16 -> Quantization.BF16;
      case Q8_0 -> Quantization.Q8_0;
      case FLOAT16 ->
          throw new ConfigException(
              "--dtype: float16 is not written to gguf; use float32, bfloat16 or q8_0");
    };
  }

  private static Quantization usual(SourceModel model) {
    return model.architecture().model().dtype() == DataType.BFLOAT16
        ? Quantization.BF16
        : Quantization.F32;
  }
}
