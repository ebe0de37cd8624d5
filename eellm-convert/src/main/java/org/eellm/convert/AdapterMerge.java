package org.eellm.convert;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.AdapterFiles;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.tensor.Tensors;

/** Makes an adapter's low-rank changes a part of the matrices that they change. */
public final class AdapterMerge {
  private AdapterMerge() {}

  /**
   * The model with changed matrices, added up in float32 and rounded to the model's number format,
   * without a calibration. Closing it closes the adapter's files alone.
   *
   * @param adapter a folder in PEFT's layout, or the output of a run that tuned low-rank changes
   * @throws CheckpointException if it was made for another trunk, or changes what is not there
   */
  public static SourceModel merge(SourceModel model, Path adapter) {
    ModelFolder files = new ModelFolder(model.folder(), Optional.empty()).withAdapter(adapter);
    files.requireTrunk();
    AdapterFiles changes =
        AdapterFiles.open(
            files.adapter().orElseThrow(), model.folder(), model.config().architecture());
    try {
      return new SourceModel(
          model.kind(),
          model.folder(),
          model.config(),
          model.configFile(),
          model.keepsConfig(),
          model.tensors().stream()
              .map(tensor -> changes.changes(tensor.name()) ? changed(tensor, changes) : tensor)
              .toList(),
          List.of(changes),
          Optional.empty());
    } catch (RuntimeException failure) {
      changes.close();
      throw failure;
    }
  }

  private static ModelTensor changed(ModelTensor tensor, AdapterFiles changes) {
    return new ModelTensor(
        tensor.name(),
        tensor.type(),
        tensor.shape(),
        tensor.origins(),
        origins -> {
          var rowMajor = new MemoryFormatOptional(MemoryFormat.Contiguous);
          Tensor sum =
              tensor.assembly().of(origins).to(ScalarType.Float, false, true, rowMajor); // a copy
          changes.addTo(tensor.name(), Tensors.bytes(sum));
          return sum;
        });
  }
}
