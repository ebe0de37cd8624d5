package org.eellm.decode.engine.cpu;

import org.eellm.kernel.matmul.MatmulKernel;
import org.eellm.kernel.weight.WeightFormat;
import org.eellm.model.DecodingModel;

/**
 * The kernels that multiply with a model's matrices.
 *
 * @param layers with those of layers
 * @param heads with the output matrices
 * @param routers with those of routers to experts, which are not rounded
 */
record ModelKernels(MatmulKernel layers, MatmulKernel heads, MatmulKernel routers) {

  static ModelKernels of(DecodingModel model) {
    return new ModelKernels(
        MatmulKernel.fastest(PackedWeights.format(model, model.quantization().layers())),
        MatmulKernel.fastest(PackedWeights.format(model, model.quantization().heads())),
        MatmulKernel.fastest(WeightFormat.FLOAT32));
  }

  /** A description of the kernels; heads are named where their format is another. */
  String text() {
    return layers.format() == heads.format()
        ? layers.text()
        : "%s; heads %s".formatted(layers.text(), heads.text());
  }
}
