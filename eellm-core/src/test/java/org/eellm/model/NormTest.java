package org.eellm.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.golden.GoldenCase;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The way that GPUs take back through a norm gives the gradients of the one that CPUs take. */
final class NormTest {

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void byLibtorch_anyRows_hasTheGradientsOfTheWrittenOutWay(boolean zeroCentered) {
    GoldenCase golden = GoldenCase.named("llama_embedding");
    try (Scope scope = Scope.open();
        Decoder model = golden.load(golden.architecture());
        Gradients gradients = new Gradients(model.parameters())) {
      Weight weight = model.parameters().weight("model.layers.0.input_layernorm.weight");
      long width = weight.value().numel();
      Tensor x = torch.randn(7, width).mul(Tensors.scalar(3));
      Tensor g = torch.randn(7, width);
      Norm.RmsNorm norm = new Norm.RmsNorm(weight, 1e-5, zeroCentered, TensorParallel.singleRank());
      gradients.start();
      List<float[]> expected =
          List.of(
              Tensors.toFloats(norm.backward(x, g, gradients)),
              Tensors.toFloats(
                  gradients.flat().narrow(0, weight.offset(), weight.value().numel())));
      TensorVector both = norm.byLibtorch(x, g);
      for (int i = 0; i < 2; i++) {
        float[] found = Tensors.toFloats(both.get(i));
        assertThat(found).hasSameSizeAs(expected.get(i));
        for (int j = 0; j < found.length; j++) {
          assertThat(found[j]).isCloseTo(expected.get(i)[j], within(1e-5f));
        }
      }
    }
  }
}
