package org.eellm.decode.speculate;

import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.Predicate;
import org.eellm.checkpoint.DraftTable;
import org.eellm.config.HeadId;
import org.eellm.decode.precedent.Precedents;
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
 * differently. Where a text changes its nature, a few drafts that fail in a row end them; trials
 * that become rarer begin them again.
 *
 * <p>With a the chance that a draft is accepted, drafts of k tokens yield {@code E = (1 - a^(k+1))
 * / (1 - a)} tokens a cycle. The exit whose cycle takes the least time a token drafts, or none
 * where the full model is faster. A single text's draft is as long as a further token is worth what
 * it costs: as long as the chance that it counts, times the time that a token takes, is more than
 * the lower layers' time and that of a further row above. Texts of a batch draft in step, since the
 * upper layers gain only where all go through them at once.
 *
 * <p>A draft head competes with the exits: it drafts before the step, from the state behind all
 * layers, so that its drafts pass the whole model as one block, in a batch each text's own number.
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

  private static final DraftLength MOST_TOKENS = new DraftLength.Fixed(MOST);

  /** Cycles between two choices of the exit; at first there is one before each. */
  private static final int CYCLES = 8;

  private static final int FIRST_CYCLES = 64;

  /** Drafts of an exit before its acceptance rate counts. */
  private static final int LEAST_QUESTIONS = 6;

  /** Cycles after which an exit that is not in use drafts once, to see whether things changed. */
  private static final int TRIAL = 48;

  /** The same where no drafter pays, at first; twice as many each time. */
  private static final int LEAST_TRIAL = 4;

  /** A change in what is expected of drafts after which to choose anew at once. */
  private static final double SURPRISE = 0.15;

  /** What a trial of a draft head may cost, as a share of the text that it is for. */
  private static final double TRIAL_SHARE = 0.02;

  /** What a draft head's first look at a text may cost, as a share of what it then may gain. */
  private static final double GAIN_SHARE = 0.1;

  /** A drafter that holds as often is known: a trial that holds says nothing new of it. */
  private static final double LEARNED = 0.9;

  private static final int NONE = -1;

  private final OnlineCostModel costs;
  private final PrecedentStore store;
  private final List<Head> drafters; // exits in order of depth, then the draft head
  private final Head full;
  private final AcceptanceRate[] acceptances; // by head
  private int sequences = 1;
  private int cycles;
  private int chosen; // a drafter's index, or NONE
  private int length; // of the drafts of a batch
  private int step; // of a batch's cycle
  private boolean due; // to choose, as soon as a text drafts
  private double trust = 1; // in the texts of a step, a running mean
  private double chosenAt; // the trust with which it was chosen
  private int untried; // cycles since the last trial
  private int patience = LEAST_TRIAL; // cycles from one trial to the next where nothing drafts
  private int nextTrial;
  private int again = NONE; // the drafter of a trial that held, or NONE
  private int withoutHead; // the best exit, or NONE
  private boolean fed = true; // whether a draft head may draft for one of the last texts
  private double costOfToken;
  private double costWithoutHead; // of a token, where no draft head drafts
  private double costOfFull; // of a token, where the full model writes alone
  private final DraftSourceSelector contest = new DraftSourceSelector(); // in batches
  private DraftSource newest = DraftSource.BOTH; // of the sequence that came last
  private boolean contested; // whether the newest sequence may draft in both ways
  private int planned; // rows of the step so far, without prompts

  /**
   * @param heads all of a model by their indices: exits, the final head, perhaps a draft head
   */
  public DraftPlanner(List<Head> heads, OnlineCostModel costs, DraftTable table) {
    this.costs = costs;
    store = new PrecedentStore(table);
    drafters = heads.stream().filter(head -> !head.id().equals(HeadId.FINAL)).toList();
    full = heads.stream().filter(head -> head.id().equals(HeadId.FINAL)).findFirst().orElseThrow();
    acceptances = new AcceptanceRate[heads.size()];
    Arrays.setAll(acceptances, _ -> new AcceptanceRate());
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
      if (step > (isExit(chosen) ? length : 0)) {
        step = 0;
        due = true;
      }
    }
  }

  public DraftPlan plan(DraftSource source, DraftMemory memory) {
    newest = source;
    contested = source == DraftSource.BOTH && !drafters.isEmpty();
    return new Plan(source, ofText(source, memory, MOST_TOKENS));
  }

  /** Makes a plan for a sequence whose drafts are as long whatever they cost. */
  public DraftPlan plan(DraftSource source, DraftMemory memory, DraftLength length) {
    return source.hasText() ? ofText(source, memory, length) : new DraftPlan.Fixed(length);
  }

  private DraftPlan.OfText ofText(DraftSource source, DraftMemory memory, DraftLength length) {
    boolean shared = memory == DraftMemory.SHARED && source.hasText();
    return new DraftPlan.OfText(store, source, shared, length);
  }

  private boolean isExit(int head) {
    return head >= 0 && head < full.index();
  }

  private static boolean mayDraft(Head drafter, DraftSource source) {
    return drafter.isExit() ? source.hasExits() : source.hasDraftHead();
  }

  /** Chooses drafter and length by the formula. */
  private void choose() {
    due = false;
    chosenAt = trust;
    chosen = NONE;
    withoutHead = NONE;
    length = 0;
    boolean hasHead = fed || sequences == 1;
    fed = false;
    costOfFull = (full(sequences) + costs.overhead()) / sequences;
    costOfToken = costOfFull;
    costWithoutHead = costOfFull;
    if (sequences > 1 && contested && contest.drafter() == DraftSourceSelector.Drafter.TEXT) {
      return;
    }
    for (Head drafter : drafters) {
      if (mayDraft(drafter, newest) && (drafter.isExit() || hasHead)) {
        choose(drafter);
      }
      if (drafter.isExit()) {
        withoutHead = chosen;
        costWithoutHead = costOfToken;
      }
    }
    if (sequences > 1) {
      trial(head -> head.isExit() || hasHead)
          .ifPresent(
              exit -> {
                chosen = exit;
                length = 1;
              });
    }
  }

  private void choose(Head drafter) {
    double a = Math.min(trust * acceptances[drafter.index()].mean(), 0.999);
    for (int drafts = 1; drafts <= MOST; drafts++) {
      double tokens = (1 - Math.pow(a, drafts + 1)) / (1 - a);
      double cost =
          (drafts + 1) * below(drafter)
              + drafts * draftCost(drafter)
              + above(drafter, drafts + 1)
              + once(drafter, tokens);
      if (cost < costOfToken * tokens) {
        costOfToken = cost / tokens;
        chosen = drafter.index();
        length = drafts;
      }
    }
  }

  /** A drafter that is to draft this time, whatever the formula says. */
  private OptionalInt trial(Predicate<Head> affordable) {
    cycles++;
    int held = again;
    again = NONE;
    if (held != NONE) {
      return OptionalInt.of(held);
    }
    for (Head drafter : drafters) {
      if (mayDraft(drafter, newest)
          && acceptances[drafter.index()].drafts() < LEAST_QUESTIONS
          && affordable.test(drafter)) {
        return OptionalInt.of(drafter.index());
      }
    }
    if (++untried < (chosen == NONE ? patience : TRIAL) || drafters.isEmpty()) {
      return OptionalInt.empty();
    }
    untried = 0;
    patience = chosen == NONE ? Math.min(TRIAL, 2 * patience) : LEAST_TRIAL;
    Head next = drafters.get(nextTrial++ % drafters.size());
    return affordable.test(next) ? OptionalInt.of(next.index()) : OptionalInt.empty();
  }

  private double full(int rows) {
    return costs.full(full, rows);
  }

  /** A token's cost in the layers below an exit; a batch shares them. */
  private double below(Head drafter) {
    return drafter.isExit() ? (costs.below(drafter, sequences) + costs.overhead()) / sequences : 0;
  }

  private double draftCost(Head drafter) {
    double cost = drafter.isExit() ? costs.draft(drafter, sequences) : costs.draftHead(sequences);
    return cost / sequences;
  }

  /** The cost of a sequence's rows in the layers above an exit and in the final head. */
  private double above(Head drafter, int rows) {
    int all = rows * sequences;
    return (drafter.isExit() ? costs.above(drafter, full, all) : full(all)) / sequences;
  }

  /**
   * What a draft of a draft head costs beside its tokens: a step's overhead, and that it sees the
   * tokens of the draft before together.
   */
  private double once(Head drafter, double tokens) {
    if (drafter.isExit()) {
      return 0;
    }
    int rows = (int) Math.round(tokens) * sequences;
    return (costs.overhead() + costs.draftHead(rows) - costs.draftHead(sequences)) / sequences;
  }

  /** The cost of a further token of a draft. */
  private double further(Head drafter, int drafted) {
    return below(drafter) + above(drafter, drafted + 2) - above(drafter, drafted + 1);
  }

  private Head drafter(int index) {
    return drafters.get(isExit(index) ? index : drafters.size() - 1);
  }

  private final class Plan implements DraftPlan {
    private final DraftSource source;
    private final DraftPlan.OfText precedents;
    private final double[] margins = new double[MOST];
    private final AcceptanceRate.Nature nature = new AcceptanceRate.Nature();
    private int exit; // the drafter's index, or NONE
    private int drafted;
    private double chance; // that the draft so far holds
    private boolean headHasDrafted; // of this text
    private boolean tries; // a drafter that is not the best, as far as is known

    Plan(DraftSource source, DraftPlan.OfText precedents) {
      this.source = source;
      this.precedents = precedents;
    }

    @Override
    public int begin(Tokens text, int room, int unseen) {
      drafted = 0;
      chance = 1;
      fed |= unseen != NO_HEAD;
      trust += (nature.trust() - trust) / sequences;
      due |= sequences == 1 && Math.abs(trust - chosenAt) > SURPRISE;
      if (due || sequences == 1 && (cycles < FIRST_CYCLES || cycles % CYCLES == 0)) {
        choose();
      }
      int count = source.hasText() ? ofText(text, Math.min(room, MOST)) : 0;
      if (count > 0) {
        cycles++;
        exit = NONE;
        tries = false;
      } else {
        int best =
            sequences > 1
                ? chosen
                : trial(head -> head.isExit() || affordsTrial(room, unseen)).orElse(chosen);
        exit = best != NONE && mayDraft(drafter(best), source) ? best : NONE;
        if (exit != NONE && !isExit(exit) && !affords(room, unseen)) {
          exit = sequences == 1 && source.hasExits() ? withoutHead : NONE;
        }
        headHasDrafted |= exit != NONE && !isExit(exit);
        tries = sequences == 1 && exit != chosen && exit != withoutHead;
      }
      return count;
    }

    /** Whether what the draft head has to see first pays, or may be tried. */
    private boolean affords(int room, int unseen) {
      return unseen != NO_HEAD
          && (costs.draftHead(unseen) < GAIN_SHARE * room * (costOfFull - costOfToken)
              || affordsTrial(room, unseen));
    }

    /**
     * Whether what the draft head has to see first is little beside the text that it is for; of
     * some drafts at first all texts have the good.
     */
    private boolean affordsTrial(int room, int unseen) {
      if (unseen == NO_HEAD || acceptances[acceptances.length - 1].drafts() < LEAST_QUESTIONS) {
        return unseen != NO_HEAD;
      }
      int tokens = headHasDrafted ? unseen : room;
      return costs.draftHead(unseen) < TRIAL_SHARE * tokens * costOfFull;
    }

    private int ofText(Tokens text, int most) {
      Precedents known = precedents.follow(text);
      if (source == DraftSource.BOTH && sequences > 1 && length > 0) {
        return 0;
      }
      double worth = source == DraftSource.BOTH ? costOfToken : costOfFull;
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
      return precedents.lookUp(drafted);
    }

    @Override
    public boolean asks(int asked, int drafted) {
      if (asked != exit || drafted >= MOST) {
        return false;
      }
      if (sequences > 1 && isExit(exit)) {
        return step < length;
      }
      Head drafter = drafter(exit);
      double hope = chance * nature.trust() * acceptances[exit].mean() * worth();
      return drafted == 0 || hope > further(drafter, drafted) + draftCost(drafter);
    }

    @Override
    public boolean keepsDrafting(double margin) {
      AcceptanceRate acceptance = acceptances[exit];
      acceptance.addDraft(margin);
      double next = chance * nature.trust() * acceptance.of(margin);
      boolean free = sequences == 1 || !isExit(exit); // to draft as many as pay
      if (free && !(tries && drafted == 0) && next * worth() < further(drafter(exit), drafted)) {
        return false;
      }
      chance = next;
      margins[drafted++] = margin;
      return true;
    }

    /** What a token costs that this text need not draft. */
    private double worth() {
      return isExit(exit) ? costWithoutHead : costOfToken;
    }

    @Override
    public void onVerified(int drafts, int accepted) {
      contest.add(accepted + 1);
      boolean held = drafts > 0 && accepted == drafts;
      if (tries && chosen == NONE && held && nature.trust() * acceptances[exit].mean() < LEARNED) {
        again = exit;
      }
      for (int i = 0; exit != NONE && i < Math.min(drafts, accepted + 1); i++) {
        nature.add(acceptances[exit].of(margins[i]), i < accepted);
        acceptances[exit].addVerified(margins[i], i < accepted);
      }
    }

    @Override
    public void onPredicted(Tokens text, int best) {
      precedents.onPredicted(text, best);
    }

    @Override
    public void onEnd(Tokens text, int end) {
      precedents.onEnd(text, end);
    }
  }
}
