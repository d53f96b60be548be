/// The open tables that the model is held against, and the checks that it is not.
///
/// The numbers stand in the checks themselves, as published; they are facts, quoted with their sources. AcmeTrace's summary is
/// under CC BY 4.0.
public enum PublishedTables {
    // swift-format-ignore
    public static let all: [PublishedTable] = [
        PublishedTable("llama3_table5", "The Llama 3 Herd of Models, Table 5 (root causes of unexpected interruptions)", "https://arxiv.org/abs/2407.21783"),
        PublishedTable("llama3_run", "The Llama 3 Herd of Models, section 3.3.4 aggregates", "https://arxiv.org/abs/2407.21783"),
        PublishedTable("meta_rsc", "Revisiting Reliability in Large-Scale Machine Learning Research Clusters (Kokolis et al., HPCA 2025)", "https://arxiv.org/abs/2410.21680"),
        PublishedTable("megascale", "MegaScale: Scaling LLM Training to More Than 10,000 GPUs (NSDI 2024)", "https://arxiv.org/abs/2402.15627"),
        PublishedTable("byterobust_table1", "Robust LLM Training Infrastructure at ByteDance (ByteRobust, SOSP 2025), Table 1", "https://arxiv.org/abs/2509.16293"),
        PublishedTable("byterobust_table2", "ByteRobust Table 2: root causes by symptom, jobs >2000 GPUs, one month", "https://arxiv.org/abs/2509.16293"),
        PublishedTable("byterobust_table3", "ByteRobust Table 3: detection times", "https://arxiv.org/abs/2509.16293"),
        PublishedTable("byterobust_table7_8", "ByteRobust Tables 7-8: restart and checkpoint cost", "https://arxiv.org/abs/2509.16293"),
        PublishedTable("acme_failures", "Characterization of LLM Development in the Datacenter (Acme, NSDI 2024), failure table", "https://arxiv.org/abs/2403.07648"),
        PublishedTable("acme_jobs", "AcmeTrace data/cluster_summary.csv (with Philly, Helios)", "https://github.com/InternLM/AcmeTrace"),
        PublishedTable("unicron", "Unicron: Economizing Self-Healing LLM Training at Scale", "https://arxiv.org/abs/2401.00134"),
        PublishedTable("delta_xid", "Story of Two GPUs: Characterizing the Resilience of Hopper H100 and Ampere A100 GPUs (SC 2025)", "https://arxiv.org/abs/2503.11901"),
        PublishedTable("fireflyer_xid", "Fire-Flyer AI-HPC (DeepSeek, SC 2024), XID table", "https://arxiv.org/abs/2408.14158"),
        PublishedTable("hpn", "Alibaba HPN: A Data Center Network for LLM Training (SIGCOMM 2024)", "https://doi.org/10.1145/3651890.3672265"),
        PublishedTable("superbench", "SuperBench (USENIX ATC 2024)", "https://www.usenix.org/conference/atc24/presentation/xiong"),
        PublishedTable("greyhound_probing", "GREYHOUND/FALCON fail-slow study (USENIX ATC 2025), probing columns", "https://arxiv.org/abs/2410.12588"),
        PublishedTable("titan_lifetimes", "GPU Lifetimes on Titan (SC 2020) - raw data, fitted here", "https://github.com/olcf/TitanGPULife"),
        PublishedTable("bluewaters", "Blue Waters (DSN 2014/2015)", "https://doi.org/10.1109/DSN.2014.62"),
        PublishedTable("summit_ampere_mem", "Summit V100 DBEs (ICS 2024); Ampere memory errors (arXiv 2508.03513)", "https://arxiv.org/abs/2508.03513"),
        PublishedTable("opt175b", "metaseq OPT-175B chronicles", "https://github.com/facebookresearch/metaseq/tree/main/projects/OPT/chronicles"),
        PublishedTable("bloom176b", "BigScience BLOOM tr11-176B chronicles", "https://github.com/bigscience-workshop/bigscience/blob/master/train/tr11-176B-ml/chronicles.md"),
        PublishedTable("palm", "PaLM: Scaling Language Modeling with Pathways", "https://arxiv.org/abs/2204.02311"),
        PublishedTable("mfu_runs", "MFU of published runs", "various"),
        PublishedTable("b200_504", "From Detection to Recovery: LLM pre-training with 504 GPUs (Lablup 2026)", "https://arxiv.org/abs/2605.09370"),
        PublishedTable("repair_lanl", "LANL 22 systems (Schroeder & Gibson)", "https://doi.org/10.1109/TDSC.2009.4"),
        PublishedTable("philly", "Analysis of Large-Scale Multi-Tenant GPU Clusters (ATC 2019)", "https://www.usenix.org/conference/atc19/presentation/jeon"),
        PublishedTable("crusoe_h200", "Crusoe H200 (GTC 2025), via G. Lockwood", "https://glennklockwood.com/garden/component-reliability"),
        PublishedTable("checkpoint_theory", "Young 1974; Daly 2006; Saxena et al. 2024 (arXiv 2410.18124); Kokolis 2024", "https://arxiv.org/abs/2410.18124"),
        PublishedTable("goodput_defs", "AI-Hypercomputer/ml-goodput-measurement", "https://github.com/AI-Hypercomputer/ml-goodput-measurement"),
        PublishedTable("xid_dictionary", "NVIDIA Xid catalogue (meanings), facebookresearch/gcm xid_error_codes.py (cause classes)", "https://docs.nvidia.com/deploy/xid-errors/"),
    ]

    // swift-format-ignore
    public static let leftOut: [LeftOutCheck] = [
        LeftOutCheck("llama3_run", "daily ripple of throughput, 1% to 2%", "the coolant follows the day in telemetry; the pace of a job does not"),
        LeftOutCheck("meta_rsc", "MTTF of 8 and of 1,024 GPUs", "contradict the paper's own failure rate (21 to 24 against 6.5 per 1,000 node-days)"),
        LeftOutCheck("meta_rsc", "failure share of large jobs before and after lemons were removed", "needs the lengths of jobs, which are not published; any lemon factor could be fitted"),
        LeftOutCheck("meta_rsc", "end states of jobs", "the model has one synchronous job and no batch queue"),
        LeftOutCheck("megascale", "failures per 1,000 node-days", "is the input of the other checks: the duration is given as several weeks"),
        LeftOutCheck("byterobust_table1", "incidents per job", "no batch queue"),
        LeftOutCheck("byterobust_table2", "share of hangs and illegal accesses with infrastructure as their cause", "a cause of the model has one root; nothing is diagnosed"),
        LeftOutCheck("byterobust_table7_8", "requeueing over hot update, four ratios", "arithmetic on two rows of one table"),
        LeftOutCheck("acme_failures", "share of GPU time of infrastructure failures, order of times to failure", "needs the sizes and lengths of jobs"),
        LeftOutCheck("acme_jobs", "end states and run times of jobs", "no batch queue"),
        LeftOutCheck("unicron", "abnormal terminations, share of transient ones", "a sum of printed percentages; which of them are transient is not said"),
        LeftOutCheck("superbench", "time between incidents from the first to the twentieth", "nodes of the model do not wear by incident; lemons are constant"),
        LeftOutCheck("greyhound_probing", "share of slowed jobs of 1 and of 4 nodes", "one job; congestion is not modelled"),
        LeftOutCheck("titan_lifetimes", "deaths of the old batch, shape of the new one", "no wear-out: scenarios last months, wear began after 21"),
        LeftOutCheck("bluewaters", "GPU over CPU node failures", "every node has GPUs"),
        LeftOutCheck("summit_ampere_mem", "which GPUs have single-bit errors, their bursts, clusters of double-bit errors", "no single-bit errors in the model"),
        LeftOutCheck("opt175b", "longest uninterrupted run", "trajectories do not keep the lengths of single stretches"),
        LeftOutCheck("b200_504", "share of fail-slow among failures", "5 of 21 are an input for whoever wants it; nothing to predict"),
        LeftOutCheck("philly", "share of hardware among job failures", "no batch queue"),
        LeftOutCheck("crusoe_h200", "mix of 41 faults", "the number behind the percentages is not known"),
        LeftOutCheck("xid_dictionary", "all", "has no numbers"),
        LeftOutCheck("acme_failures", "counts of all 29 kinds", "the class shares are tested; kinds are told apart by job logs"),
    ]
}
