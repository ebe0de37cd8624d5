package org.eellm.decode.engine.cpu;

import org.eellm.kernel.PageLayout;
import org.eellm.kernel.PagedAttention;
import org.eellm.kernel.ScoreFunction;
import org.eellm.kernel.matmul.MatmulKernel;
import org.eellm.kernel.weight.WeightFormat;
import org.eellm.model.DecodingModel;

/**
 * The kernels that multiply with a model's matrices.
 *
 * @param layers with those of layers
 * @param heads with the output matrices
 * @param choice of all kernels
 */
record ModelKernels(MatmulKernel layers, MatmulKernel heads, KernelChoice choice) {

  static ModelKernels of(DecodingModel model, KernelChoice choice) {
    return new ModelKernels(
        of(PackedWeights.format(model, model.quantization().layers()), choice),
        of(PackedWeights.format(model, model.quantization().heads()), choice),
        choice);
  }

  private static MatmulKernel of(WeightFormat format, KernelChoice choice) {
    return switch (choice) {
      case FASTEST -> MatmulKernel.fastest(format);
      case VECTORS -> MatmulKernel.vectors(format);
    };
  }

  /** Multiplies with matrices of another format. */
  MatmulKernel of(WeightFormat format) {
    return of(format, choice);
  }

  /** Attention over pages of a layout. */
  PagedAttention attention(PageLayout layout, ScoreFunction scores) {
    return switch (choice) {
      case FASTEST -> PagedAttention.fastest(layout, scores);
      case VECTORS -> PagedAttention.vectors(layout, scores);
    };
  }

  /** A description of the kernels; heads are named where their format is another. */
  String text() {
    return layers.format() == heads.format()
        ? layers.text()
        : "%s; heads %s".formatted(layers.text(), heads.text());
  }
}
