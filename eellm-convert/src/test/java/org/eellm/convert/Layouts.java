package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.pytorch.Tensor;
import org.eellm.SavedModel;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.model.Branch;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.ForwardContext;
import org.eellm.model.HeadLayers;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyStarts;

/** The models of {@code src/test/resources/layouts}, and the logits that PyTorch has for them. */
final class Layouts {
  private Layouts() {}

  static Path folder(String name) {
    try {
      return Path.of(Objects.requireNonNull(Layouts.class.getResource("/layouts/" + name)).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Every head of an eellm folder says what {@code expected.safetensors} of another has. */
  static void assertLogits(Path model, Path expectedFolder) {
    try (SafetensorsFile expected =
            SafetensorsFile.open(expectedFolder.resolve("expected.safetensors"));
        Decoder decoder =
            SavedModel.readWeights(
                model, HuggingFaceConfig.read(model).architecture(), Torch.cpu())) {
      long[] ids = expected.tensor("ids").bytes().toArray(ValueLayout.JAVA_LONG_UNALIGNED);
      Map<String, float[]> logits = logits(decoder, ids);
      assertThat(logits).hasSize(expected.tensors().size() - 1);
      logits.forEach(
          (head, ours) ->
              assertThat(ours)
                  .as(head)
                  .usingComparatorWithPrecision(2e-4f)
                  .containsExactly(
                      expected.tensor(head).bytes().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED)));
    }
  }

  /** The logits of every head, by its name, of a text. */
  static Map<String, float[]> logits(Decoder model, long[] ids) {
    Map<String, float[]> logits = new LinkedHashMap<>();
    try (Scope _ = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      ForwardContext context =
          model.context(1, ids.length, KeyStarts.SEQUENCE, Dropout.NONE, false, retained);
      Tensor x =
          model.embedding().forward(Tensors.ofLongs(ids, model.device(), ids.length), context);
      for (int below = 0; below <= model.trunk().size(); below++) {
        for (HeadLayers head : model.heads()) {
          if (head.tap() == below) {
            Tensor own = x;
            for (Branch branch : head.branches()) {
              own = branch.path().add(own, branch.forward(own, context, retained).delta());
            }
            logits.put(head.id().toString(), Tensors.toFloats(head.logits(own)));
          }
        }
        if (below < model.trunk().size()) {
          Branch branch = model.trunk().get(below);
          x = branch.path().add(x, branch.forward(x, context, retained).delta());
        }
      }
    }
    return logits;
  }
}
