package org.eellm.train.objective;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Branch;
import org.eellm.model.HeadLayers;
import org.eellm.model.Pass;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.Carried;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.Chain.HeadResult;
import org.eellm.train.objective.Chain.HeadScore;

/**
 * Through a head and back.
 *
 * @param stream where the head taps it, [local rows, hidden], or twice as wide between parallel
 *     branches
 */
record HeadWalk(HeadLayers head, Tensor stream, Pass pass, DeviceBatch batch) {

  /**
   * Loss and the gradients of {@code weight * mean loss}, which are added; with the stream's.
   *
   * @param weight of the head and of this microbatch in the step
   */
  HeadLoss.Result learn(
      HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    try (Kept kept = new Kept()) {
      return learn(up(kept), target, weight, objective, gradients);
    }
  }

  /** The same from where {@link #ahead} has come to. */
  HeadLoss.Result learn(
      Up up, HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    try (Scope scope = Scope.open()) {
      Passed passed = pass(up, target, weight, objective, gradients);
      Tensor g = passed.gradient();
      for (int i = passed.tapes().size() - 1; i >= 0; i--) {
        g = backward(i, passed, g, gradients);
      }
      return new HeadLoss.Result(scope.pass(passed.loss()), scope.pass(g));
    }
  }

  /** The same where nothing below the head learns: the loss alone. */
  Tensor tune(HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    try (Scope scope = Scope.open();
        Kept kept = new Kept()) {
      Passed passed = pass(up(kept), target, weight, objective, gradients);
      Tensor g = passed.gradient();
      for (int i = passed.tapes().size() - 1; i > 0; i--) {
        g = backward(i, passed, g, gradients);
      }
      if (!passed.tapes().isEmpty()) {
        head.branches().getFirst().learn(passed.tapes().getFirst(), g, pass, gradients);
      }
      return scope.pass(passed.loss());
    }
  }

  /**
   * The way up the head.
   *
   * @param top the stream behind the head's branches
   * @param logits of all tokens, where they are wanted before the loss
   */
  record Up(List<Branch.Tape> tapes, Tensor top, Tensor normed, Optional<Tensor> logits) {}

  private Up up(Kept kept) {
    Tensor x = stream;
    List<Branch.Tape> tapes = new ArrayList<>();
    for (Branch branch : head.branches()) {
      Branch.Output output = branch.forward(x, pass, kept);
      tapes.add(output.tape());
      x = branch.path().add(x, output.delta());
    }
    return new Up(tapes, x, head.normed(x), Optional.empty());
  }

  /** The way up and the logits, to go back from later. */
  Up ahead(Kept kept, double temperature) {
    try (Scope scope = Scope.open()) {
      Up up = up(kept);
      return new Up(
          up.tapes(),
          kept.keep(up.top()),
          kept.keep(up.normed()),
          Optional.of(
              kept.keep(
                  HeadLoss.logits(up.normed(), head.output(), temperature, head.parallel()))));
    }
  }

  /**
   * Back from the loss through the head's norm.
   *
   * @param gradient of the stream behind the head's branches
   */
  private record Passed(List<Branch.Tape> tapes, Tensor loss, Tensor gradient) {}

  private Passed pass(
      Up up, HeadLoss.Target target, double weight, Objective objective, Gradients gradients) {
    HeadLoss.Result result =
        HeadLoss.forwardBackward(
            up.normed(),
            head.output(),
            up.logits(),
            target,
            batch.mask(),
            weight / batch.count(),
            objective.temperatures().get(head.index()),
            objective.dynamicTokenWeights() && head.head().isExit(),
            head.parallel(),
            gradients);
    return new Passed(
        up.tapes(), result.loss(), head.normBackward(up.top(), result.gradient(), gradients));
  }

  /** Through a branch and the residual beside it. */
  private Tensor backward(int i, Passed passed, Tensor g, Gradients gradients) {
    Branch branch = head.branches().get(i);
    return branch.path().gradient(g, branch.backward(passed.tapes().get(i), g, pass, gradients));
  }

  /** The result that a loss summed over the mask stands for. */
  HeadResult result(Tensor loss) {
    return new HeadResult(head.index(), head.name(), loss.item_double() / batch.count());
  }

  /** Loss and accuracy without gradients or dropout. */
  HeadScore score(Optional<HeadLoss.Target.Teacher> teacher) {
    try (Scope scope = Scope.open();
        Carried x = new Carried(stream)) {
      head.branches().forEach(branch -> advance(x, branch, pass));
      HeadLoss.Score score =
          HeadLoss.score(
              head.normed(x.get()),
              head.output(),
              batch.targets(),
              teacher,
              batch.mask(),
              head.parallel());
      return new HeadScore(
          head.index(),
          head.name(),
          score.loss().item_double(),
          score.correct().item_double(),
          score.agreed().item_double(),
          batch.count());
    }
  }

  /** The stream after {@code branch}, keeping nothing. */
  static void advance(Carried stream, Branch branch, Pass pass) {
    try (Scope scope = Scope.open();
        Kept forgotten = new Kept()) {
      Tensor delta = branch.forward(stream.get(), pass, forgotten).delta();
      stream.set(branch.path().add(stream.get(), delta));
    }
  }
}
