package org.eellm.train.objective;

import java.util.Optional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.TrainConfig.Device;
import org.eellm.cost.MicrobatchShape;
import org.eellm.distributed.collective.Reduction;
import org.eellm.model.OutputMatrix;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Weight;
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
public final class HeadLoss {
  private static final long[] LAST = {-1};

  private HeadLoss() {}

  /** A head's target: the next tokens, another head's output, or both. */
  public sealed interface Target {

    /** The next token, int64 [n]: the loss is cross entropy. */
    record Labels(Tensor ids) implements Target {}

    /**
     * The distribution of another head at the same temperature: the loss is the Kullback-Leibler
     * divergence of the head from it, as in self-distillation (Balcony, arXiv 2503.05005).
     *
     * @param normed the other head's normed hidden state, the rows that are here, [local rows, h]
     * @param output its output matrix, split as the head's
     */
    record Teacher(Tensor normed, OutputMatrix output) implements Target {}

    /**
     * Both at once: the gradient is that of the cross entropy and {@code share} times the
     * divergence. The loss is the cross entropy alone, which needs no further pass over the logits.
     */
    record LabelsAndTeacher(Tensor ids, Teacher teacher, double share) implements Target {}
  }

  /**
   * @param loss sum over tokens of mask * weight * loss, float32 scalar
   * @param gradient of the normed hidden state, [n, hidden]
   */
  public record Result(Tensor loss, Tensor gradient) {}

  /**
   * The weights of the tokens' losses.
   *
   * @param mask float32 [n]
   * @param scale what a token's loss counts in the objective
   * @param dynamic multiply each token's loss by its maximum probability
   */
  public record TokenWeights(Tensor mask, double scale, boolean dynamic) {}

  /**
   * The tokens, and perhaps another head, that a head's guesses are compared with.
   *
   * @param ids the next tokens, int64 [n]
   * @param teacher the head that they may agree with
   */
  record Reference(Tensor ids, Optional<Target.Teacher> teacher) {}

  /**
   * Loss, gradient of the hidden state, and the output matrix's gradient, which is added.
   *
   * @param normed normed hidden state, the rows that are here, [local rows, h]
   * @param temperature what the logits are divided by
   */
  public static Result forwardBackward(
      Tensor normed,
      OutputMatrix matrix,
      Target wanted,
      TokenWeights weights,
      double temperature,
      Gradients gradients) {
    Weight output = matrix.weight();
    TensorParallel parallel = matrix.parallel();
    try (Scope scope = Scope.open()) {
      Tensor all = parallel.gather(normed); // [n, h]
      Tensor gradient = torch.empty_like(all);
      Tensor loss = Tensors.zeros(ScalarType.Float, all.device());
      VocabularyShard vocabulary = VocabularyShard.of(output, parallel);
      Target target = gathered(wanted, parallel);
      long chunk = chunk(output);
      for (long start = 0; start < all.size(0); start += chunk) {
        try (Scope chunkScope = Scope.open()) {
          long count = Math.min(chunk, all.size(0) - start);
          Tensor h = matrix.operand(all.narrow(0, start, count), temperature);
          Tensor weight = weights.mask().narrow(0, start, count).unsqueeze(1); // [c, 1]
          Tensor logits = matrix.logits(h, temperature); // [c, V]
          Optional<Tensor> slope = matrix.slope(logits, temperature);
          TokenLosses terms =
              switch (target) {
                case Target.Labels(Tensor ids) ->
                    vocabulary.terms(logits, ids.narrow(0, start, count).unsqueeze(1));
                case Target.Teacher teacher ->
                    divergence(vocabulary, logits, logits(teacher, start, count, temperature));
                case Target.LabelsAndTeacher(Tensor ids, Target.Teacher teacher, double share) ->
                    both(
                        vocabulary,
                        logits,
                        logits(teacher, start, count, temperature),
                        ids.narrow(0, start, count).unsqueeze(1),
                        share);
              };
          if (weights.dynamic()) {
            weight = weight.mul(terms.maxProbability());
          }
          loss.add_(terms.loss().mul(weight).sum());
          Tensor gLogits = terms.gradient(); // before the token's weight
          slope.ifPresent(gLogits::mul_);
          Tensor tokenScale = weight.mul(new Scalar(weights.scale())); // [c, 1], float32
          gradients.addProduct(output, gLogits, h.mul(tokenScale).to(h.scalar_type()));
          Tensor g = torch.mm(gLogits, output.value());
          gradient
              .narrow(0, start, count)
              .copy_(g.mul(tokenScale.mul_(new Scalar(matrix.factor(temperature)))));
        }
      }
      return new Result(scope.moveToOuter(loss), scope.moveToOuter(parallel.reduce(gradient)));
    }
  }

  private static Target gathered(Target target, TensorParallel parallel) {
    return switch (target) {
      case Target.Labels text -> text;
      case Target.Teacher teacher -> gathered(teacher, parallel);
      case Target.LabelsAndTeacher(Tensor ids, Target.Teacher teacher, double share) ->
          new Target.LabelsAndTeacher(ids, gathered(teacher, parallel), share);
    };
  }

  private static Target.Teacher gathered(Target.Teacher teacher, TensorParallel parallel) {
    return new Target.Teacher(parallel.gather(teacher.normed()), teacher.output());
  }

  /** Of consecutive tokens of all of a teacher's, [c, V] or this rank's columns. */
  private static Tensor logits(Target.Teacher teacher, long start, long count, double temperature) {
    OutputMatrix matrix = teacher.output();
    Tensor h = teacher.normed().narrow(0, start, count);
    return matrix.logits(matrix.operand(h, temperature), temperature);
  }

  /** With q the teacher's probabilities: {@code sum q (log q - log p)}, whose gradient is p - q. */
  private static TokenLosses divergence(VocabularyShard vocabulary, Tensor logits, Tensor teacher) {
    Tensor logP = vocabulary.logProbabilities(logits);
    Tensor logQ = vocabulary.logProbabilities(teacher);
    Tensor q = logQ.exp();
    Tensor here = logQ.sub_(logP).mul_(q).sum(LAST, true, new ScalarTypeOptional());
    Tensor p = logP.exp_();
    return new TokenLosses(
        vocabulary.across(here, Reduction.SUM),
        vocabulary.across(p.amax(LAST, true), Reduction.MAX),
        p.sub_(q).to(logits.scalar_type()));
  }

  /**
   * With p - onehot at hand, and q - onehot of the teacher likewise, {@code (p - onehot) + share (p
   * - q)} is a sum of the two.
   */
  private static TokenLosses both(
      VocabularyShard vocabulary, Tensor logits, Tensor teacher, Tensor target, double share) {
    TokenLosses text = vocabulary.terms(logits, target);
    Tensor other = vocabulary.terms(teacher, target).gradient();
    return new TokenLosses(
        text.loss(),
        text.maxProbability(),
        text.gradient().mul_(new Scalar(1 + share)).add_(other, new Scalar(-share)));
  }

  /**
   * Figures without gradients, summed over the tokens that the mask counts; shapes as above.
   *
   * @return float32 [2 or 3]: cross entropy in nats; tokens where the likeliest is the target;
   *     those where it is the teacher's likeliest, too, if there is one
   */
  static Tensor score(Tensor hidden, OutputMatrix matrix, Reference reference, Tensor mask) {
    Weight output = matrix.weight();
    TensorParallel parallel = matrix.parallel();
    try (Scope scope = Scope.open()) {
      Tensor all = parallel.gather(hidden);
      Optional<Target.Teacher> whole = reference.teacher().map(given -> gathered(given, parallel));
      Tensor loss = Tensors.zeros(ScalarType.Float, all.device());
      Tensor correct = Tensors.zeros(ScalarType.Float, all.device());
      Tensor agreed = Tensors.zeros(ScalarType.Float, all.device());
      VocabularyShard vocabulary = VocabularyShard.of(output, parallel);
      long chunk = chunk(output);
      for (long start = 0; start < all.size(0); start += chunk) {
        try (Scope chunkScope = Scope.open()) {
          long count = Math.min(chunk, all.size(0) - start);
          Tensor target = reference.ids().narrow(0, start, count).unsqueeze(1);
          Tensor weight = mask.narrow(0, start, count).unsqueeze(1);
          Tensor logits = matrix.logits(all.narrow(0, start, count));
          loss.add_(vocabulary.crossEntropy(logits, target).mul(weight).sum());
          Tensor likeliest = vocabulary.argmax(logits);
          correct.add_(likeliest.eq(target).mul(weight).sum());
          if (whole.isPresent()) {
            Tensor wanted = vocabulary.argmax(logits(whole.get(), start, count, 1));
            agreed.add_(likeliest.eq(wanted).mul(weight).sum());
          }
        }
      }
      TensorVector sums = new TensorVector(loss, correct);
      whole.ifPresent(_ -> sums.push_back(agreed));
      return scope.moveToOuter(torch.stack(sums, 0));
    }
  }

  /**
   * The losses of a chunk's tokens, and the gradient of their logits.
   *
   * @param loss cross entropy {@code logsumexp(z) - z_target}, or divergence, float32 [c, 1]
   * @param maxProbability the largest probability, float32 [c, 1]
   * @param gradient softmax less onehot or the teacher's, [c, V] or this rank's columns, in the
   *     logits' format and perhaps in their place
   */
  private record TokenLosses(Tensor loss, Tensor maxProbability, Tensor gradient) {}

  /** The columns of the logits that are here. */
  private sealed interface VocabularyShard {
    TokenLosses terms(Tensor logits, Tensor target);

    /** The cross entropy alone. */
    Tensor crossEntropy(Tensor logits, Tensor target);

    /** Each row's likeliest token, int64 [c, 1]. */
    Tensor argmax(Tensor logits);

    /** The logarithms of the columns' probabilities, float32. */
    Tensor logProbabilities(Tensor logits);

    /** Combines something of each row over the ranks that share the columns. */
    Tensor across(Tensor x, Reduction reduction);

    static VocabularyShard of(Weight output, TensorParallel parallel) {
      return parallel.size() == 1
          ? new Whole()
          : new Part(parallel, parallel.rank() * output.value().size(0));
    }

    /** All of them. */
    record Whole() implements VocabularyShard {
      @Override
      public TokenLosses terms(Tensor logits, Tensor target) {
        if (CrossEntropy.fits(logits)) {
          CrossEntropy.Rows rows = CrossEntropy.forwardBackward(logits, target.squeeze(1));
          return new TokenLosses(rows.loss(), rows.maxProbability(), logits);
        }
        Tensor p = torch.softmax(logits, -1, new ScalarTypeOptional(ScalarType.Float));
        Tensor pMax = p.amax(LAST, true);
        Tensor crossEntropy = crossEntropy(logits, pMax, target);
        p.scatter_add_(1, target, torch.full_like(pMax, new Scalar(-1.0)));
        return new TokenLosses(crossEntropy, pMax, p.to(logits.scalar_type()));
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
      public Tensor argmax(Tensor logits) {
        return logits.argmax(new LongOptional(-1), true);
      }

      @Override
      public Tensor logProbabilities(Tensor logits) {
        return torch.log_softmax(logits, -1, new ScalarTypeOptional(ScalarType.Float));
      }

      @Override
      public Tensor across(Tensor x, Reduction reduction) {
        return x;
      }
    }

    /**
     * A rank's: three small sums over the ranks make the softmax whole.
     *
     * @param first token of the first column
     */
    record Part(TensorParallel parallel, long first) implements VocabularyShard {
      @Override
      public TokenLosses terms(Tensor logits, Tensor target) {
        Sums sums = sums(logits, target);
        Tensor p = sums.exponentials().div_(sums.total());
        p.scatter_add_(1, here(p, target), isHere(p, target).neg_());
        return new TokenLosses(
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
      public Tensor argmax(Tensor logits) {
        Tensor mine = logits.amax(LAST, true).to(ScalarType.Float);
        Tensor largest = across(mine.clone(), Reduction.MAX);
        Tensor candidate = logits.argmax(new LongOptional(-1), true).add_(new Scalar(first));
        Tensor beaten = mine.lt(largest);
        return across(candidate.masked_fill_(beaten, new Scalar(Long.MAX_VALUE)), Reduction.MIN);
      }

      @Override
      public Tensor logProbabilities(Tensor logits) {
        Tensor wide = logits.to(ScalarType.Float);
        Tensor shifted = wide.sub(across(wide.amax(LAST, true), Reduction.MAX));
        Tensor total =
            across(shifted.exp().sum(LAST, true, new ScalarTypeOptional()), Reduction.SUM);
        return shifted.sub_(total.log_());
      }

      @Override
      public Tensor across(Tensor x, Reduction reduction) {
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
    Device device = output.value().device().is_cpu() ? Device.CPU : Device.CUDA;
    return MicrobatchShape.headTokens(device, output.value().size(0));
  }
}
