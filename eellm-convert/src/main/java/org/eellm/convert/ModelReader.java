package org.eellm.convert;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.GgufModel;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.huggingface.StoredLayout;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.StoredWeights;
import org.eellm.config.ModelConfig;
import org.eellm.gguf.GgufFile;

/** Opens models of every layout that is known. */
public final class ModelReader {
  private ModelReader() {}

  /**
   * Opens a model folder, a checkpoint, a run's output (of which the newest checkpoint is taken), a
   * Hugging Face folder with safetensors or {@code torch.save} files, a checkpoint of Megatron or
   * EE-LLM, or a GGUF file. Nothing is read of the numbers yet.
   *
   * @throws CheckpointException if it is none of these, damaged, or cannot be honoured
   */
  public static SourceModel open(Path path) {
    if (GgufFile.isOne(path)) {
      return GgufModel.source(path);
    }
    if (MegatronCheckpoint.isOne(path)) {
      return MegatronCheckpoint.open(path);
    }
    Path folder = CheckpointStore.resolveModel(path);
    JsonFields fields = HuggingFaceConfig.fields(folder);
    HuggingFaceConfig config = HuggingFaceConfig.read(folder);
    StoredWeights weights = weights(folder);
    try {
      String kind =
          Files.isDirectory(folder.resolve("training"))
              ? "checkpoint of a training run"
              : "Hugging Face folder, model_type " + fields.text("model_type");
      return new SourceModel(
              kind,
              folder,
              config,
              withExits((ObjectNode) fields.object(), config),
              true,
              tensors(weights, Families.of(fields), config),
              List.of(weights),
              Optional.empty())
          .withCalibration(folder);
    } catch (RuntimeException failure) {
      weights.close();
      throw failure;
    }
  }

  /** Exits that lie beside the trunk belong to the model. */
  private static ObjectNode withExits(ObjectNode file, HuggingFaceConfig config) {
    if (!config.architecture().exits().layers().isEmpty()) {
      file.set(HuggingFaceConfig.EARLY_EXIT, HeadFiles.json(config.architecture().exits()));
      RemoteCode.forget(file);
    }
    return file;
  }

  private static StoredWeights weights(Path folder) {
    boolean safetensors =
        ModelFiles.has(folder, WeightFiles.SINGLE) || ModelFiles.has(folder, WeightFiles.INDEX);
    return !safetensors && PyTorchWeights.in(folder)
        ? PyTorchWeights.open(folder)
        : WeightFiles.openStored(folder);
  }

  private static List<ModelTensor> tensors(
      StoredWeights weights, Family family, HuggingFaceConfig config) {
    ModelConfig model = config.architecture().model();
    if (model.numLayers() > weights.tensors().size()) { // before anything is made for each layer
      throw new CheckpointException(
          "%s: num_hidden_layers is %d, but there are %d tensors in all; config.json and the weights must be of the same model"
              .formatted(weights.folder(), model.numLayers(), weights.tensors().size()));
    }
    if (family.hasOurNames()) {
      return own(weights, config);
    }
    List<ModelTensor> tensors = new ArrayList<>();
    new StoredLayout(family, model)
        .parameters(weights.folder(), weights.tensors())
        .forEach((name, origin) -> tensors.add(ModelTensor.copy(name, origin)));
    return tensors;
  }

  /** Tensors that have our names and shapes already. */
  private static List<ModelTensor> own(StoredWeights weights, HuggingFaceConfig config) {
    ModelConfig model = config.architecture().model();
    List<ModelTensor> tensors = new ArrayList<>();
    for (Map.Entry<String, StoredTensor> entry : weights.tensors().entrySet()) {
      String name = entry.getKey();
      if (!StoredLayout.DERIVED.matcher(name).matches() && !isTied(name, weights, config, model)) {
        tensors.add(ModelTensor.copy(name, new Origin(name, entry.getValue())));
      }
    }
    return tensors;
  }

  /** Whether an output matrix is stored though it is another. */
  private static boolean isTied(
      String name, StoredWeights weights, HuggingFaceConfig config, ModelConfig model) {
    String shared = model.tieEmbeddings() ? "model.embed_tokens.weight" : "lm_head.weight";
    StoredTensor other = weights.tensors().get(shared);
    boolean tied =
        name.equals("lm_head.weight")
            ? model.tieEmbeddings()
            : name.matches("exits\\.\\d+\\.lm_head\\.weight")
                && config.architecture().exits().tieOutput();
    StoredTensor output = weights.tensors().get(name);
    return tied && other != null && output != null && ModelTensor.equalBytes(output, other);
  }
}
