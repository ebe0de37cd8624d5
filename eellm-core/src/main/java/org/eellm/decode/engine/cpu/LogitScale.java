package org.eellm.decode.engine.cpu;

import org.eellm.config.ModelConfig;
import org.eellm.kernel.row.RowKernel;

/**
 * What makes a head's products its logits.
 *
 * @param factor they are multiplied by
 * @param softcap c of {@code c tanh(z / c)}, which is then taken; 0 for none
 */
record LogitScale(float factor, float softcap) {

  static LogitScale of(ModelConfig model) {
    return new LogitScale((float) model.logitScale(), (float) model.logitSoftcap());
  }

  /** Makes products logits, in place; room as for {@link RowKernel#softcap}. */
  void apply(long products, int count) {
    if (factor != 1) {
      RowKernel.chosen().multiply(products, count, factor);
    }
    if (softcap != 0) {
      RowKernel.chosen().softcap(products, count, softcap);
    }
  }

  float of(float product) {
    float logit = product * factor;
    return softcap == 0 ? logit : (float) (softcap * Math.tanh(logit / softcap));
  }
}
