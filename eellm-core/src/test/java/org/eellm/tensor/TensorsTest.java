package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TensorsTest {
  @ParameterizedTest
  @EnumSource(names = {"Float", "BFloat16", "Long"})
  void scalarType_anyFormat_isItsConstant(ScalarType type) {
    try (Scope _ = Scope.open()) {
      assertThat(Tensors.scalarType(Tensors.zeros(type, Torch.cpu(), 1))).isSameAs(type);
    }
  }
}
