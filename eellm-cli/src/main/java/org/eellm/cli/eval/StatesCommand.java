package org.eellm.cli.eval;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.cli.generate.PromptFile;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.LayerList;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.cli.option.OutputPath;
import org.eellm.config.ConfigException;
import org.eellm.config.ModelConfig;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine.EngineStarter;
import org.eellm.decode.request.Limits;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm states}: hidden states by layer, for other tools. */
@Command(
    name = "states",
    description =
        "Writes texts' hidden states after some layers, before any norm, as safetensors:"
            + " text_1.ids, [tokens], and text_1.layer_2, [tokens, hidden], in float32.")
public final class StatesCommand extends EellmCommand {
  @Mixin private ModelOptions modelOptions;
  @Mixin private MeshOptions meshOptions;

  @Option(
      names = "--prompts",
      required = true,
      paramLabel = "FILE",
      description = "Texts, one a line; - is standard input.")
  private Path prompts;

  @Option(
      names = "--layers",
      paramLabel = "LAYERS",
      description = "As in 2,4 or 1-8; all by default.")
  private Optional<String> layers;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "FILE",
      description = "A new safetensors file.")
  private Path output;

  @Override
  public Integer call() throws IOException {
    OutputPath.requireFile("--output", output);
    List<String> texts = PromptFile.lines(prompts);
    return meshOptions.onFirstRank(
        spec, modelOptions, (model, engines) -> write(texts, model, engines));
  }

  private void write(List<String> texts, LoadedModel model, EngineStarter engines) {
    List<Integer> asked = layers(model.architecture().model());
    List<List<Integer>> all = model.prompts(texts);
    try (Engine engine = model.engine(engines, 1, Limits.MAX_PENDING)) {
      List<TensorSource> tensors = new ArrayList<>();
      for (int i = 0; i < all.size(); i++) {
        String text = "text_" + (i + 1);
        tensors.add(ids(text + ".ids", all.get(i)));
        for (int layer : asked) {
          tensors.add(
              states(
                  text + ".layer_" + layer,
                  engine,
                  all.get(i),
                  layer,
                  model.architecture().model().hiddenSize()));
        }
      }
      SafetensorsWriter.write(output, Map.of("format", "pt"), tensors);
      out().printf("%,d tensors, written to %s%n", tensors.size(), output);
    }
  }

  private List<Integer> layers(ModelConfig shape) {
    List<Integer> all = IntStream.rangeClosed(1, shape.numLayers()).boxed().toList();
    List<Integer> asked = LayerList.parse("--layers", layers.orElse("all"), all);
    for (int layer : asked) {
      if (!all.contains(layer)) {
        throw new ConfigException(
            "--layers: %d is outside the model's layers; use 1 to %d"
                .formatted(layer, shape.numLayers()));
      }
    }
    return asked;
  }

  private static TensorSource ids(String name, List<Integer> ids) {
    ByteBuffer bytes = ByteBuffer.allocate(Long.BYTES * ids.size()).order(ByteOrder.LITTLE_ENDIAN);
    ids.forEach(id -> bytes.putLong(id));
    return TensorSource.of(
        name,
        SafetensorsType.I64,
        List.of((long) ids.size()),
        MemorySegment.ofArray(bytes.array()));
  }

  /** They are computed when their turn to be written comes. */
  private static TensorSource states(
      String name, Engine engine, List<Integer> ids, int layer, int hiddenSize) {
    return new TensorSource(
        name,
        SafetensorsType.F32,
        List.of((long) ids.size(), (long) hiddenSize),
        sink -> {
          ByteBuffer bytes =
              ByteBuffer.allocate(Math.multiplyExact(Float.BYTES * ids.size(), hiddenSize))
                  .order(ByteOrder.LITTLE_ENDIAN);
          FloatBuffer floats = bytes.asFloatBuffer();
          engine
              .readHiddenStates(
                  ids, layer, (position, state) -> floats.put(position * hiddenSize, state))
              .join();
          sink.write(MemorySegment.ofArray(bytes.array()));
        });
  }
}
