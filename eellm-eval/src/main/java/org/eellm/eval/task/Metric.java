package org.eellm.eval.task;

import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.IntToDoubleFunction;
import java.util.function.ToDoubleFunction;
import org.eellm.config.HeadId;
import org.eellm.eval.Estimate;
import org.eellm.eval.task.Outcome.Choice;
import org.eellm.eval.task.Outcome.Score;
import org.eellm.eval.task.Outcome.Scored;
import org.eellm.eval.task.Outcome.Text;
import org.eellm.eval.task.Outcome.Written;
import org.eellm.eval.task.TaskSpec.OutputType;

/** A figure that is measured of a task's outcomes. */
public enum Metric {
  /** Share of right answers: the most probable choice, or an answer that is each token's best. */
  ACC(true, OutputType.LOGLIKELIHOOD, OutputType.MULTIPLE_CHOICE) {
    @Override
    public double of(Outcome outcome, List<Score> scores) {
      boolean right =
          outcome instanceof Choice choice
              ? best(scores, i -> 1) == choice.right()
              : scores.getFirst().greedy();
      return right ? 1 : 0;
    }
  },
  /** Share of right choices by log likelihoods divided by the answers' lengths in characters. */
  ACC_NORM(true, OutputType.MULTIPLE_CHOICE) {
    @Override
    public double of(Outcome outcome, List<Score> scores) {
      Choice choice = Choice.class.cast(outcome);
      return best(scores, i -> choice.characters().get(i)) == choice.right() ? 1 : 0;
    }
  },
  /** Of whole answers: e to the mean negative log likelihood. */
  PERPLEXITY(false, OutputType.LOGLIKELIHOOD) {
    @Override
    public double of(Outcome outcome, List<Score> scores) {
      return -scores.getFirst().logLikelihood();
    }

    @Override
    Estimate estimate(List<Outcome> outcomes, HeadId head) {
      return super.estimate(outcomes, head).map(Math::exp, Math::exp);
    }
  },
  /** Of a word of text, divided at white space. */
  WORD_PERPLEXITY(false, OutputType.LOGLIKELIHOOD_ROLLING) {
    @Override
    public double of(Outcome outcome, List<Score> scores) {
      return -scores.getFirst().logLikelihood();
    }

    @Override
    Estimate estimate(List<Outcome> outcomes, HeadId head) {
      return per(outcomes, head, text -> Text.class.cast(text).words()).map(Math::exp, Math::exp);
    }
  },
  /** Of a byte of text. */
  BYTE_PERPLEXITY(false, OutputType.LOGLIKELIHOOD_ROLLING) {
    @Override
    public double of(Outcome outcome, List<Score> scores) {
      return -scores.getFirst().logLikelihood();
    }

    @Override
    Estimate estimate(List<Outcome> outcomes, HeadId head) {
      return per(outcomes, head, text -> Text.class.cast(text).bytes()).map(Math::exp, Math::exp);
    }
  },
  /** Bits that a byte of text takes. */
  BITS_PER_BYTE(false, OutputType.LOGLIKELIHOOD_ROLLING) {
    @Override
    public double of(Outcome outcome, List<Score> scores) {
      return -scores.getFirst().logLikelihood() / Math.log(2);
    }

    @Override
    Estimate estimate(List<Outcome> outcomes, HeadId head) {
      return per(outcomes, head, text -> Text.class.cast(text).bytes());
    }
  },
  /** Words that answer and reference share (Lin 2004); F-measure. */
  ROUGE1(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return Rouge.n(1, reference, text).f();
    }
  },
  /** Pairs of neighbouring words that answer and reference share; F-measure. */
  ROUGE2(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return Rouge.n(2, reference, text).f();
    }
  },
  /** Longest common subsequence of words; F-measure. */
  ROUGE_L(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return Rouge.longest(reference, text).f();
    }
  },
  /** Words that normalised answer and reference share, each as often as it comes (SQuAD). */
  F1(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return AnswerMetrics.f1(reference, text);
    }
  },
  /** Words that normalised answer and reference share, each once (HELM). */
  F1_SET(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return AnswerMetrics.f1OfSets(reference, text);
    }
  },
  /** Answer and reference are the same but for white space around them. */
  EXACT_MATCH(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return text.strip().equals(reference.strip()) ? 1 : 0;
    }
  },
  /** Equality after normalisation of case, punctuation, articles and white space (SQuAD, HELM). */
  QUASI_EXACT_MATCH(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return AnswerMetrics.normalized(text).equals(AnswerMetrics.normalized(reference)) ? 1 : 0;
    }
  },
  /** The last number in the answer is the last one in the reference (HELM, for GSM8K). */
  FINAL_NUMBER(true, OutputType.GENERATE_UNTIL) {
    @Override
    public double of(String text, String reference) {
      return AnswerMetrics.sameFinalNumber(reference, text) ? 1 : 0;
    }
  };

  private final boolean higherIsBetter;
  private final Set<OutputType> types;

  Metric(boolean higherIsBetter, OutputType... types) {
    this.higherIsBetter = higherIsBetter;
    this.types = Set.of(types);
  }

  public boolean higherIsBetter() {
    return higherIsBetter;
  }

  /** Whether it can be measured of this type of task. */
  public boolean suits(OutputType type) {
    return types.contains(type);
  }

  /** The value of an item at a head. */
  public double of(Outcome outcome, List<Score> scores) {
    Written written = Written.class.cast(outcome);
    return written.references().stream()
        .mapToDouble(reference -> of(written.text(), reference))
        .max()
        .orElse(0);
  }

  /** The value of a text that was written. */
  public double of(String text, String reference) {
    throw new IllegalStateException(this + " is not of texts");
  }

  /** The value of many items at a head: their mean, unless a metric says otherwise. */
  Estimate estimate(List<Outcome> outcomes, HeadId head) {
    return Estimate.mean(values(outcomes, head));
  }

  /** The items' sum at a head, divided by something's sum. */
  Estimate per(List<Outcome> outcomes, HeadId head, ToDoubleFunction<Outcome> weight) {
    return Estimate.ratio(values(outcomes, head), outcomes.stream().mapToDouble(weight).toArray());
  }

  private double[] values(List<Outcome> outcomes, HeadId head) {
    return outcomes.stream().mapToDouble(outcome -> of(outcome, scores(outcome, head))).toArray();
  }

  private static List<Score> scores(Outcome outcome, HeadId head) {
    return outcome instanceof Scored scored
        ? scored.heads().getOrDefault(head, List.of())
        : List.of();
  }

  /** The most probable answer, log likelihoods divided by lengths; the first of equals. */
  private static int best(List<Score> scores, IntToDoubleFunction length) {
    int best = 0;
    for (int i = 1; i < scores.size(); i++) {
      if (scores.get(i).logLikelihood() / length.applyAsDouble(i)
          > scores.get(best).logLikelihood() / length.applyAsDouble(best)) {
        best = i;
      }
    }
    return best;
  }

  /** The name in files: {@code acc_norm}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
