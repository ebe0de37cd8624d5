package org.eellm.train;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.model.Gradients;
import org.eellm.model.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.CrossEntropy;

/**
 * A head's output matrix and cross entropy in closed form: with {@code p = softmax(h W^T)}, {@code
 * dh = (p - onehot) W} and {@code dW = (p - onehot)^T h}, all times the token's weight. It goes by
 * chunks of tokens, so that the logits are never whole in memory, for any number of exits.
 */
final class HeadLoss {
  /**
   * Largest size of a chunk's float32 probabilities: several such buffers stay in a processor's
   * last cache or near it.
   */
  private static final long CHUNK_BYTES = 64L << 20;

  private static final long[] LAST = {-1};

  private HeadLoss() {}

  /**
   * @param loss sum over tokens of mask * weight * cross entropy, float32 scalar
   * @param gradient of the normed hidden state, [n, hidden]
   */
  record Result(Tensor loss, Tensor gradient) {}

  /**
   * Sums over tokens, float32 scalars: mask * cross entropy, and mask where the likeliest token is
   * the target.
   */
  record Score(Tensor loss, Tensor correct) {}

  /**
   * Loss, gradient of the hidden state, and the output matrix's gradient, which is added.
   *
   * @param hidden normed hidden state, [n, h]
   * @param output [V, h]
   * @param targets int64 [n]
   * @param mask float32 [n]
   * @param scale what a token's loss counts in the objective
   * @param dynamic multiply each token's loss by its maximum probability
   */
  static Result forwardBackward(
      Tensor hidden,
      Weight output,
      Tensor targets,
      Tensor mask,
      double scale,
      double temperature,
      boolean dynamic,
      Gradients gradients) {
    try (Scope scope = Scope.open()) {
      Tensor gradient = torch.empty_like(hidden);
      Tensor loss = Tensors.zeros(ScalarType.Float, hidden.device());
      long chunk = chunk(output);
      for (long start = 0; start < hidden.size(0); start += chunk) {
        try (Scope chunkScope = Scope.open()) {
          long count = Math.min(chunk, hidden.size(0) - start);
          Tensor h = hidden.narrow(0, start, count);
          if (temperature != 1) {
            h = h.div(new Scalar(temperature));
          }
          Tensor target = targets.narrow(0, start, count).unsqueeze(1); // [c, 1]
          Tensor weight = mask.narrow(0, start, count).unsqueeze(1); // [c, 1]
          Tensor logits = torch.linear(h, output.value()); // [c, V]
          Terms terms = Terms.of(logits, target);
          if (dynamic) {
            weight = weight.mul(terms.likeliest());
          }
          loss.add_(terms.crossEntropy().mul(weight).sum());
          Tensor gLogits = terms.gradient(); // before the token's weight
          Tensor tokenScale = weight.mul(new Scalar(scale)); // [c, 1], float32
          gradients.addProduct(output, gLogits, h.mul(tokenScale).to(h.scalar_type()));
          Tensor g = torch.mm(gLogits, output.value());
          gradient
              .narrow(0, start, count)
              .copy_(g.mul(tokenScale.mul_(new Scalar(1 / temperature))));
        }
      }
      return new Result(scope.pass(loss), scope.pass(gradient));
    }
  }

  /**
   * What logits [c, V] say of their targets [c, 1].
   *
   * @param crossEntropy float32 [c, 1]
   * @param likeliest the largest probability, float32 [c, 1]
   * @param gradient softmax less onehot, [c, V], in the place of the logits where they are bfloat16
   */
  private record Terms(Tensor crossEntropy, Tensor likeliest, Tensor gradient) {
    static Terms of(Tensor logits, Tensor target) {
      if (CrossEntropy.fits(logits)) {
        CrossEntropy.Rows rows = CrossEntropy.forwardBackward(logits, target.squeeze(1));
        return new Terms(rows.loss(), rows.likeliest(), logits);
      }
      Tensor p = torch.softmax(logits, -1, new ScalarTypeOptional(ScalarType.Float));
      Tensor pMax = p.amax(LAST, true);
      Tensor crossEntropy = HeadLoss.crossEntropy(logits, pMax, target);
      p.scatter_add_(1, target, torch.full_like(pMax, new Scalar(-1.0)));
      return new Terms(crossEntropy, pMax, p.to(logits.scalar_type()));
    }
  }

  /** Loss and accuracy without gradients; shapes as above. */
  static Score score(Tensor hidden, Weight output, Tensor targets, Tensor mask) {
    try (Scope scope = Scope.open()) {
      Tensor loss = Tensors.zeros(ScalarType.Float, hidden.device());
      Tensor correct = Tensors.zeros(ScalarType.Float, hidden.device());
      long chunk = chunk(output);
      for (long start = 0; start < hidden.size(0); start += chunk) {
        try (Scope chunkScope = Scope.open()) {
          long count = Math.min(chunk, hidden.size(0) - start);
          Tensor target = targets.narrow(0, start, count);
          Tensor weight = mask.narrow(0, start, count);
          Tensor logits = torch.linear(hidden.narrow(0, start, count), output.value());
          Tensor p = torch.softmax(logits, -1, new ScalarTypeOptional(ScalarType.Float));
          Tensor crossEntropy =
              crossEntropy(logits, p.amax(LAST, true), target.unsqueeze(1)).squeeze(1);
          loss.add_(crossEntropy.mul_(weight).sum());
          correct.add_(
              p.argmax(new org.bytedeco.pytorch.LongOptional(-1), false)
                  .eq(target)
                  .mul(weight)
                  .sum());
        }
      }
      return new Score(scope.pass(loss), scope.pass(correct));
    }
  }

  /**
   * {@code logsumexp(z) - z_target}, float32 [c, 1]. The likeliest token's probability is never
   * rounded to 0, so that {@code logsumexp(z) = max(z) - log(max p)} is exact where the target's
   * own probability is not representable.
   */
  private static Tensor crossEntropy(Tensor logits, Tensor pMax, Tensor target) {
    Tensor zMax = logits.amax(LAST, true).to(ScalarType.Float);
    Tensor zTarget = logits.gather(1, target).to(ScalarType.Float);
    return zMax.sub(zTarget).sub_(pMax.log());
  }

  private static long chunk(Weight output) {
    return Math.max(16, CHUNK_BYTES / (4 * output.value().size(0)));
  }
}
