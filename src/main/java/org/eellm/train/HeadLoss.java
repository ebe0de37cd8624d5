package org.eellm.train;

import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.Reduction;
import org.eellm.model.Gradients;
import org.eellm.model.TensorParallel;
import org.eellm.model.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.CrossEntropy;

/**
 * A head's output matrix and cross entropy in closed form: with {@code p = softmax(h W^T)}, {@code
 * dh = (p - onehot) W} and {@code dW = (p - onehot)^T h}, all times the token's weight. It goes by
 * chunks of tokens, so that the logits are never whole in memory, for any number of exits. Where
 * tensor-parallel ranks share the vocabulary, three small sums over them a chunk make the softmax
 * whole.
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
   * @param hidden normed hidden state, the rows that are here, [local rows, h]
   * @param output [V, h], or this rank's rows of it
   * @param targets int64 [n]
   * @param mask float32 [n]
   * @param scale what a token's loss counts in the objective
   * @param dynamic multiply each token's loss by its maximum probability
   * @param parallel the ranks that share the output matrix
   */
  static Result forwardBackward(
      Tensor hidden,
      Weight output,
      Tensor targets,
      Tensor mask,
      double scale,
      double temperature,
      boolean dynamic,
      TensorParallel parallel,
      Gradients gradients) {
    try (Scope scope = Scope.open()) {
      Tensor all = parallel.gather(hidden); // [n, h]
      Tensor gradient = torch.empty_like(all);
      Tensor loss = Tensors.zeros(ScalarType.Float, all.device());
      Vocabulary vocabulary = Vocabulary.of(output, parallel);
      long chunk = chunk(output);
      for (long start = 0; start < all.size(0); start += chunk) {
        try (Scope chunkScope = Scope.open()) {
          long count = Math.min(chunk, all.size(0) - start);
          Tensor h = all.narrow(0, start, count);
          if (temperature != 1) {
            h = h.div(new Scalar(temperature));
          }
          Tensor target = targets.narrow(0, start, count).unsqueeze(1); // [c, 1]
          Tensor weight = mask.narrow(0, start, count).unsqueeze(1); // [c, 1]
          Tensor logits = torch.linear(h, output.value()); // [c, V]
          Terms terms = vocabulary.terms(logits, target);
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
      return new Result(scope.pass(loss), scope.pass(parallel.reduce(gradient)));
    }
  }

  /** Loss and accuracy without gradients; shapes as above. */
  static Score score(
      Tensor hidden, Weight output, Tensor targets, Tensor mask, TensorParallel parallel) {
    try (Scope scope = Scope.open()) {
      Tensor all = parallel.gather(hidden);
      Tensor loss = Tensors.zeros(ScalarType.Float, all.device());
      Tensor correct = Tensors.zeros(ScalarType.Float, all.device());
      Vocabulary vocabulary = Vocabulary.of(output, parallel);
      long chunk = chunk(output);
      for (long start = 0; start < all.size(0); start += chunk) {
        try (Scope chunkScope = Scope.open()) {
          long count = Math.min(chunk, all.size(0) - start);
          Tensor target = targets.narrow(0, start, count).unsqueeze(1);
          Tensor weight = mask.narrow(0, start, count).unsqueeze(1);
          Tensor logits = torch.linear(all.narrow(0, start, count), output.value());
          loss.add_(vocabulary.crossEntropy(logits, target).mul(weight).sum());
          correct.add_(vocabulary.likeliest(logits).eq(target).mul(weight).sum());
        }
      }
      return new Score(scope.pass(loss), scope.pass(correct));
    }
  }

  /**
   * What logits say of their targets.
   *
   * @param crossEntropy {@code logsumexp(z) - z_target}, float32 [c, 1]
   * @param likeliest the largest probability, float32 [c, 1]
   * @param gradient softmax less onehot, [c, V] or this rank's columns, in the logits' format and
   *     perhaps in their place
   */
  private record Terms(Tensor crossEntropy, Tensor likeliest, Tensor gradient) {}

  /** The columns of the logits that are here. */
  private sealed interface Vocabulary {
    Terms terms(Tensor logits, Tensor target);

    /** {@link Terms#crossEntropy} alone. */
    Tensor crossEntropy(Tensor logits, Tensor target);

    /** Each row's likeliest token, int64 [c, 1]. */
    Tensor likeliest(Tensor logits);

    static Vocabulary of(Weight output, TensorParallel parallel) {
      return parallel.size() == 1
          ? new Whole()
          : new Part(parallel, parallel.rank() * output.value().size(0));
    }

    /** All of them. */
    record Whole() implements Vocabulary {
      @Override
      public Terms terms(Tensor logits, Tensor target) {
        if (CrossEntropy.fits(logits)) {
          CrossEntropy.Rows rows = CrossEntropy.forwardBackward(logits, target.squeeze(1));
          return new Terms(rows.loss(), rows.likeliest(), logits);
        }
        Tensor p = torch.softmax(logits, -1, new ScalarTypeOptional(ScalarType.Float));
        Tensor pMax = p.amax(LAST, true);
        Tensor crossEntropy = crossEntropy(logits, pMax, target);
        p.scatter_add_(1, target, torch.full_like(pMax, new Scalar(-1.0)));
        return new Terms(crossEntropy, pMax, p.to(logits.scalar_type()));
      }

      @Override
      public Tensor crossEntropy(Tensor logits, Tensor target) {
        Tensor p = torch.softmax(logits, -1, new ScalarTypeOptional(ScalarType.Float));
        return crossEntropy(logits, p.amax(LAST, true), target);
      }

      /**
       * The likeliest token's probability is never rounded to 0, so that {@code logsumexp(z) =
       * max(z) - log(max p)} is exact where the target's own probability is not representable.
       */
      private static Tensor crossEntropy(Tensor logits, Tensor pMax, Tensor target) {
        Tensor zMax = logits.amax(LAST, true).to(ScalarType.Float);
        Tensor zTarget = logits.gather(1, target).to(ScalarType.Float);
        return zMax.sub(zTarget).sub_(pMax.log());
      }

      @Override
      public Tensor likeliest(Tensor logits) {
        return logits.argmax(new LongOptional(-1), true);
      }
    }

    /**
     * A rank's: three small sums over the ranks make the softmax whole.
     *
     * @param first token of the first column
     */
    record Part(TensorParallel parallel, long first) implements Vocabulary {
      @Override
      public Terms terms(Tensor logits, Tensor target) {
        Sums sums = sums(logits, target);
        Tensor p = sums.exponentials().div_(sums.total());
        p.scatter_add_(1, here(p, target), isHere(p, target).neg_());
        return new Terms(
            sums.crossEntropy(), sums.total().reciprocal(), p.to(logits.scalar_type()));
      }

      @Override
      public Tensor crossEntropy(Tensor logits, Tensor target) {
        return sums(logits, target).crossEntropy();
      }

      /**
       * @param exponentials {@code exp(z - max z)}, this rank's columns
       * @param total their sum over all columns, [c, 1]
       * @param crossEntropy [c, 1]
       */
      private record Sums(Tensor exponentials, Tensor total, Tensor crossEntropy) {}

      private Sums sums(Tensor logits, Tensor target) {
        Tensor wide = logits.to(ScalarType.Float); // [c, V / ranks]
        Tensor zMax = across(wide.amax(LAST, true), Reduction.MAX);
        Tensor zTarget =
            across(wide.gather(1, here(wide, target)).mul(isHere(wide, target)), Reduction.SUM);
        Tensor exponentials = wide.sub(zMax).exp_();
        Tensor total =
            across(exponentials.sum(LAST, true, new ScalarTypeOptional()), Reduction.SUM);
        return new Sums(exponentials, total, zMax.sub(zTarget).add_(total.log()));
      }

      @Override
      public Tensor likeliest(Tensor logits) {
        Tensor mine = logits.amax(LAST, true).to(ScalarType.Float);
        Tensor largest = across(mine.clone(), Reduction.MAX);
        Tensor candidate = logits.argmax(new LongOptional(-1), true).add_(new Scalar(first));
        Tensor beaten = mine.lt(largest);
        return across(candidate.masked_fill_(beaten, new Scalar(Long.MAX_VALUE)), Reduction.MIN);
      }

      private Tensor across(Tensor x, Reduction reduction) {
        parallel.group().allReduce(x, reduction).await();
        return x;
      }

      /** The targets' columns, or any column for those of other ranks. */
      private Tensor here(Tensor columns, Tensor target) {
        return target
            .sub(new Scalar(first))
            .clamp_(
                new ScalarOptional(new Scalar(0L)),
                new ScalarOptional(new Scalar(columns.size(1) - 1)));
      }

      /** 1 for targets whose column is here, 0 for others, float32 [c, 1]. */
      private Tensor isHere(Tensor columns, Tensor target) {
        return target
            .ge(new Scalar(first))
            .logical_and_(target.lt(new Scalar(first + columns.size(1))))
            .to(ScalarType.Float);
      }
    }
  }

  private static long chunk(Weight output) {
    return Math.max(16, CHUNK_BYTES / (4 * output.value().size(0)));
  }
}
