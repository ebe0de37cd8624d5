package org.eellm.convert;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.GgufModel;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.HuggingFaceFolder;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.huggingface.StoredLayout;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.StoredWeights;
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
    HuggingFaceFolder files = HuggingFaceFolder.read(folder);
    HuggingFaceConfig config = files.config();
    StoredWeights weights = weights(folder);
    try {
      String kind =
          Files.isDirectory(folder.resolve("training"))
              ? "checkpoint of a training run"
              : "Hugging Face folder, model_type " + files.family().modelType();
      List<ModelTensor> tensors = new ArrayList<>();
      new StoredLayout(files.family().tensors(), config.architecture())
          .parameters(folder, weights.tensors())
          .forEach((name, origin) -> tensors.add(ModelTensor.copy(name, origin)));
      return new SourceModel(
              kind,
              folder,
              config,
              withExits((ObjectNode) files.fields().object(), config),
              true,
              tensors,
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
}
