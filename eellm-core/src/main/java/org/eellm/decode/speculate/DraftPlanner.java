package org.eellm.decode.speculate;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.checkpoint.DraftTable;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/**
 * Chooses exit and length of drafts while texts are written, from what steps cost here and how
 * often drafts were accepted lately (as DEL does, arXiv 2504.05598; EESD, arXiv 2406.03853).
 *
 * <p>A draft that is too long, or of an exit that is mostly wrong, makes a text slower than no
 * draft at all, and where the line is depends on the text, the machine and the batch. So what a
 * further token is expected to gain is weighed against what it costs, in the same unit of time. A
 * fixed length suits one text on one machine, and to try all exits and lengths against each other
 * would spend most drafts on bad ones; here one acceptance rate an exit, told apart by margin,
 * serves all lengths. The price is that drafts of a cycle are taken to hold independently of each
 * other, that one cycle in 48 tries an exit which may be worse, and that two runs may draft
 * differently.
 *
 * <p>With a the chance that a draft is accepted, drafts of k tokens yield {@code E = (1 - a^(k+1))
 * / (1 - a)} tokens a cycle. The exit whose cycle takes the least time a token drafts, or none
 * where the full model is faster. A single text's draft is as long as a further token is worth what
 * it costs: as long as the chance that it counts, times the time that a token takes, is more than
 * the lower layers' time and that of a further row above. Texts of a batch draft in step, since the
 * upper layers gain only where all go through them at once.
 *
 * <p>Where a text's last tokens came before, in itself, in another request's reply or in a table,
 * what followed drafts ({@link Precedents}), if the tokens that are to be expected of that, at the
 * time that a token takes otherwise, are worth more than the rows cost. In a batch texts and exits
 * take turns, and the faster drafter has most of them ({@link DraftSourceSelector}).
 *
 * <p>What is chosen changes how long a text takes, and never the text.
 */
public final class DraftPlanner {
  /** Most tokens of a draft. */
  static final int MOST = 12;

  /** Cycles between two choices of the exit; at first there is one before each. */
  private static final int CYCLES = 8;

  private static final int FIRST_CYCLES = 64;

  /** Drafts of an exit before its acceptance rate counts. */
  private static final int LEAST_QUESTIONS = 6;

  /** Cycles after which an exit that is not in use drafts once, to see whether things changed. */
  private static final int TRIAL = 48;

  private final OnlineCostModel costs;
  private final PrecedentStore store;
  private final List<Head> heads; // the final head last
  private final AcceptanceRate[] acceptances; // by exit
  private int sequences = 1;
  private int cycles;
  private int chosen; // an exit's index, or NONE
  private int length; // of the drafts of a batch
  private int step; // of a batch's cycle
  private boolean due; // to choose, as soon as a text drafts
  private int nextTrial;
  private double costOfToken;
  private double costOfFull; // of a token, where the full model writes alone
  private final DraftSourceSelector contest = new DraftSourceSelector(); // in batches
  private boolean contested; // whether the newest sequence may draft in both ways
  private int planned; // rows of the step so far, without prompts

  private static final int NONE = -1;

  /**
   * @param heads all of a model, the final head last
   * @param table of the model's drafts
   */
  public DraftPlanner(List<Head> heads, OnlineCostModel costs, DraftTable table) {
    this.heads = heads;
    this.costs = costs;
    store = new PrecedentStore(table);
    acceptances = new AcceptanceRate[heads.size() - 1];
    for (int exit = 0; exit < acceptances.length; exit++) {
      acceptances[exit] = new AcceptanceRate();
    }
    choose();
  }

  /**
   * Starts a step.
   *
   * @param count sequences that move in it
   */
  public void begin(int count) {
    sequences = count;
    planned = count;
    if (count < 2) {
      contest.pause();
    } else {
      if (contested && costs.learns()) {
        contest.begin(System.nanoTime());
      }
      step++;
      if (step > length) {
        step = 0;
        due = true;
      }
    }
  }

  /** Makes a plan for a sequence. */
  public DraftPlan plan(DraftSource source, DraftMemory memory) {
    contested = source == DraftSource.BOTH && acceptances.length > 0;
    return new Plan(source, memory == DraftMemory.SHARED && source != DraftSource.EXITS);
  }

  /** Chooses exit and length by the formula. */
  private void choose() {
    due = false;
    chosen = NONE;
    length = 0;
    costOfFull = (full(sequences) + costs.overhead()) / sequences;
    costOfToken = costOfFull;
    if (sequences > 1 && contested && contest.drafter() == DraftSourceSelector.Drafter.TEXT) {
      return;
    }
    for (int exit = 0; exit < acceptances.length; exit++) {
      double a = Math.min(acceptances[exit].mean(), 0.999);
      for (int drafts = 1; drafts <= MOST; drafts++) {
        double tokens = (1 - Math.pow(a, drafts + 1)) / (1 - a);
        double cost =
            (drafts + 1) * below(exit) + drafts * draftCost(exit) + above(exit, drafts + 1);
        if (cost < costOfToken * tokens) {
          costOfToken = cost / tokens;
          chosen = exit;
          length = drafts;
        }
      }
    }
    if (sequences > 1) {
      trial()
          .ifPresent(
              exit -> {
                chosen = exit;
                length = 1;
              });
    }
  }

  /** An exit that is to draft this time, whatever the formula says. */
  private OptionalInt trial() {
    cycles++;
    for (int exit = 0; exit < acceptances.length; exit++) {
      if (acceptances[exit].drafts() < LEAST_QUESTIONS) {
        return OptionalInt.of(exit);
      }
    }
    return cycles % TRIAL == 0 && acceptances.length > 0
        ? OptionalInt.of(nextTrial++ % acceptances.length)
        : OptionalInt.empty();
  }

  private double full(int rows) {
    return costs.full(heads.getLast(), rows);
  }

  /** A token's cost in the layers below an exit; a batch shares them. */
  private double below(int exit) {
    return (costs.below(heads.get(exit), sequences) + costs.overhead()) / sequences;
  }

  private double draftCost(int exit) {
    return costs.draft(heads.get(exit), sequences) / sequences;
  }

  /** The cost of a sequence's rows in the layers above an exit and in the final head. */
  private double above(int exit, int rows) {
    return costs.above(heads.get(exit), heads.getLast(), rows * sequences) / sequences;
  }

  /** The cost of a further token of a draft. */
  private double further(int exit, int drafted) {
    return below(exit) + above(exit, drafted + 2) - above(exit, drafted + 1);
  }

  private final class Plan implements DraftPlan {
    private final DraftSource source;
    private final boolean shared;
    private final double[] margins = new double[MOST];
    private Optional<Precedents> precedents = Optional.empty();
    private final JudgedRows predictions = new JudgedRows();
    private int exit;
    private int drafted;
    private double chance; // that the draft so far holds

    Plan(DraftSource source, boolean shared) {
      this.source = source;
      this.shared = shared;
    }

    @Override
    public int begin(Tokens text, int room) {
      drafted = 0;
      chance = 1;
      if (sequences > 1 ? due : cycles < FIRST_CYCLES || cycles % CYCLES == 0) {
        choose();
      }
      int count = source == DraftSource.EXITS ? 0 : ofText(text, Math.min(room, MOST));
      if (count > 0) {
        cycles++;
        exit = NONE;
      } else {
        exit = sequences > 1 ? chosen : trial().orElse(chosen);
      }
      return count;
    }

    /** How many tokens of its own the text drafts: those that gain most. */
    private int ofText(Tokens text, int most) {
      if (precedents.isEmpty()) {
        precedents = Optional.of(new Precedents(text, store, shared));
      }
      Precedents known = precedents.get();
      known.follow();
      predictions.learn(store); // not before: what is known already would seem to be foreseen
      if (source == DraftSource.BOTH && sequences > 1 && length > 0) {
        return 0;
      }
      double worth = source == DraftSource.TEXT ? costOfFull : costOfToken;
      double without = full(planned);
      double gain = costOfFull - worth; // what a draft has to gain beside an exit's
      double hope = 0;
      double holds = 1;
      int count = 0;
      for (int drafts = 1; drafts <= most && known.expectsFurther(); drafts++) {
        holds *= known.chance();
        hope += holds;
        double gained = hope * worth - (full(planned + drafts) - without);
        if (gained > gain) {
          gain = gained;
          count = drafts;
        }
      }
      planned += count;
      return count;
    }

    @Override
    public int lookUp(int drafted) {
      return precedents.orElseThrow().expected(drafted);
    }

    @Override
    public boolean asks(int asked, int drafted) {
      if (asked != exit || drafted >= MOST) {
        return false;
      }
      if (sequences > 1) {
        return step < length;
      }
      double hope = chance * acceptances[exit].mean() * costOfToken;
      return drafted == 0 || hope > further(exit, drafted) + draftCost(exit);
    }

    @Override
    public boolean keepsDrafting(double margin) {
      AcceptanceRate acceptance = acceptances[exit];
      acceptance.addDraft(margin);
      double next = chance * acceptance.of(margin);
      if (sequences == 1 && next * costOfToken < further(exit, drafted)) {
        return false;
      }
      chance = next;
      margins[drafted++] = margin;
      return true;
    }

    @Override
    public void onVerified(int drafts, int accepted) {
      contest.add(accepted + 1);
      for (int i = 0; exit != NONE && i < Math.min(drafts, accepted + 1); i++) {
        acceptances[exit].addVerified(margins[i], i < accepted);
      }
    }

    @Override
    public void onPredicted(Tokens text, int best) {
      if (shared) {
        predictions.add(text, best);
      }
    }

    @Override
    public void onEnd(Tokens text, int end) {
      if (shared) {
        store.add(text, end);
      }
    }
  }
}
