package zohosim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/brianvoe/gofakeit/v7"
)

// A team is the sales team of a demo: it makes records that look like a real one's.
type team struct {
	zoho     *Zoho
	fake     *gofakeit.Faker
	accounts []account
	leads    []string // ids that are neither converted nor deleted
	deals    []string
}

// An account is a company that deals are made with, and its contact.
type account struct {
	company Ref
	contact Ref
}

// Populate fills the org with records of a sales team of two years, the same for the same
// seed. The returned function goes on working as the team would, edit by edit, until its
// context ends.
func (z *Zoho) Populate(seed uint64, leads, deals int) (live func(ctx context.Context, every time.Duration)) {
	for _, f := range []Field{
		{API: "Lead_Score", Type: "integer", Custom: true},
		{API: "Product_Interest", Type: "multiselectpicklist", Custom: true, Values: products},
		{API: "Demo_Date", Type: "date", Custom: true},
	} {
		z.AddField("Leads", f)
	}
	z.AddField("Deals", Field{API: "Competitor", Type: "text", Custom: true})

	t := &team{zoho: z, fake: gofakeit.NewFaker(rand.NewPCG(seed, seed), false)}
	for i := range max(1, deals/5) {
		t.accounts = append(t.accounts, account{
			company: Ref{ID: fmt.Sprintf("57257670000007%05d", i), Name: t.fake.Company()},
			contact: Ref{ID: fmt.Sprintf("57257670000008%05d", i), Name: t.fake.Name()},
		})
	}
	for range leads {
		lead := t.lead(t.past())
		converted := t.chance(8)
		if converted {
			with := t.accounts[t.fake.IntN(len(t.accounts))]
			lead["Converted_Date_Time"], lead["Converted_Account"], lead["Converted_Contact"] = lead["Modified_Time"], with.company, with.contact
		}
		if id := z.Insert("Leads", lead); !converted {
			t.leads = append(t.leads, id)
		}
	}
	for i := range 20 { // what was deleted before anybody looked
		id := z.Insert("Leads", t.lead(t.past()))
		if z.Delete("Leads", id); i%5 == 0 {
			z.Purge("Leads", id)
		}
	}
	for range deals {
		t.deals = append(t.deals, z.Insert("Deals", t.deal(t.past())))
	}
	return t.work
}

var products = []string{"Starter", "Professional", "Enterprise", "Support"}

// past is a moment of the last two years, the more recent the likelier.
func (t *team) past() time.Time {
	age := t.fake.Float64Range(0, 1)
	return t.zoho.now().Add(-time.Duration(age * age * float64(2*365*24*time.Hour))).Truncate(time.Second)
}

func (t *team) chance(percent int) bool { return t.fake.IntN(100) < percent }

func (t *team) one(of []string) string { return of[t.fake.IntN(len(of))] }

func (t *team) user() Ref {
	users := t.zoho.Users()
	return Ref{ID: users[t.fake.IntN(len(users))].ID}
}

// amount is a sum of money with cents, as text, so that it is exact.
func (t *team) amount(most int) json.Number {
	return json.Number(fmt.Sprintf("%d.%02d", 100+t.fake.IntN(most), t.fake.IntN(4)*25))
}

func (t *team) lead(created time.Time) Record {
	first, last, address := t.fake.FirstName(), t.fake.LastName(), t.fake.Address()
	owner := t.user()
	modified := created.Add(time.Duration(t.fake.Float64Range(0, 1) * float64(t.zoho.now().Sub(created)))).Truncate(time.Second)
	lead := Record{
		"First_Name": first, "Last_Name": last, "Full_Name": first + " " + last, "Company": t.fake.Company(),
		"Designation": t.fake.JobTitle(), "Email": strings.ToLower(first+"."+last) + "@example.com", "Phone": t.fake.PhoneFormatted(),
		"Lead_Source": t.one(LeadSources[1:]), "Lead_Status": t.one(LeadStatuses[1:]), "Rating": t.one(Ratings[1:]),
		"No_of_Employees": 1 + t.fake.IntN(5000), "Annual_Revenue": t.amount(9_000_000), "Email_Opt_Out": t.chance(5),
		"Street": address.Street, "City": address.City, "State": address.State, "Zip_Code": address.Zip, "Country": address.Country,
		"Owner": owner, "Created_By": owner, "Modified_By": t.user(), "Tag": json.RawMessage("[]"), "Locked__s": false,
		"Record_Status__s": "Available", "Created_Time": created, "Modified_Time": modified, "Last_Activity_Time": modified,
		"Lead_Score": t.fake.IntN(100), "Product_Interest": json.RawMessage(fmt.Sprintf("[%q]", t.one(products))),
	}
	if t.chance(20) {
		lead["Demo_Date"] = modified.Add(7 * 24 * time.Hour).Format(time.DateOnly)
	}
	if t.chance(10) {
		lead["Description"] = t.fake.Paragraph()
	}
	return lead
}

// odds are Zoho's default probabilities of the stages, in their order.
var odds = []int{10, 20, 40, 60, 75, 90, 100, 0, 0}

func (t *team) deal(created time.Time) Record {
	with := t.accounts[t.fake.IntN(len(t.accounts))]
	owner, stage := t.user(), t.fake.IntN(len(Stages))
	modified := created.Add(time.Duration(t.fake.Float64Range(0, 1) * float64(t.zoho.now().Sub(created)))).Truncate(time.Second)
	deal := Record{
		"Deal_Name": with.company.Name + " " + t.one(products), "Account_Name": with.company, "Contact_Name": with.contact,
		"Amount": t.amount(250_000), "Closing_Date": created.Add(60 * 24 * time.Hour).Format(time.DateOnly), "Type": t.one(DealTypes[1:]),
		"Lead_Source": t.one(LeadSources[1:]), "Pipeline": "Standard (Standard)", "Currency": "USD", "Exchange_Rate": 1,
		"Owner": owner, "Created_By": owner, "Modified_By": owner, "Tag": json.RawMessage("[]"), "Locked__s": false,
		"Record_Status__s": "Available", "Created_Time": created, "Modified_Time": modified, "Last_Activity_Time": modified,
	}
	t.enter(deal, stage)
	if Stages[stage] == "Closed Lost to Competition" {
		deal["Competitor"] = t.fake.Company()
	}
	return deal
}

// enter moves a deal to a stage, and what Zoho computes from it along.
func (t *team) enter(deal Record, stage int) {
	deal["Stage"], deal["Probability"] = Stages[stage], odds[stage]
	if Stages[stage] == "Closed Lost" {
		deal["Reason_For_Loss__s"] = t.one(LossReasons[1:])
	}
	var cents int64
	if amount, ok := deal["Amount"].(json.Number); ok {
		fmt.Sscan(strings.Replace(amount.String(), ".", "", 1), &cents) // our own digits
		hundredths := cents * int64(odds[stage])
		deal["Expected_Revenue"] = json.Number(fmt.Sprintf("%d.%04d", hundredths/10_000, hundredths%10_000))
	}
}

// work does one thing after another until ctx ends.
func (t *team) work(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			t.act()
		}
	}
}

func (t *team) act() {
	z, now := t.zoho, t.zoho.now()
	switch n := t.fake.IntN(100); {
	case n < 45:
		id := t.one(t.leads)
		z.Update("Leads", id, Record{"Lead_Status": t.one(LeadStatuses[1:]), "Lead_Score": t.fake.IntN(100), "Modified_By": t.user()})
	case n < 75:
		amount := Record{"Amount": t.amount(250_000), "Modified_By": t.user()}
		t.enter(amount, t.fake.IntN(len(Stages)))
		z.Update("Deals", t.one(t.deals), amount)
	case n < 85:
		lead := t.lead(now)
		t.leads = append(t.leads, z.Insert("Leads", lead))
	case n < 90:
		t.deals = append(t.deals, z.Insert("Deals", t.deal(now)))
	case n < 97:
		z.Convert(t.take(&t.leads), true)
	default:
		z.Delete("Leads", t.take(&t.leads))
	}
}

// take removes one at random from ids.
func (t *team) take(ids *[]string) string {
	all := *ids
	i := t.fake.IntN(len(all))
	id := all[i]
	all[i] = all[len(all)-1]
	*ids = all[:len(all)-1]
	return id
}
